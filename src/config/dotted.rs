//! Dots in keys, and merge keys: `a.b: 1` is `a: {b: 1}`, `<<: *base` adds what is not there.
//!
//! Owns the rule that one setting is given once in a file, however its path is spelt. Works on one source at a
//! time; how sources are laid over each other is [`super::merge`]'s.

use super::errors::Problem;
use super::node::{Data, Map, Mark, Node};

/// Keys below keys beyond this are nobody's configuration.
const MAX_DEPTH: usize = 64;

/// Expands the whole tree; settings given twice are added to `problems` and the first is kept.
pub(super) fn expand(node: Node, problems: &mut Vec<Problem>) -> Node {
    at(node, "", problems)
}

fn at(node: Node, path: &str, problems: &mut Vec<Problem>) -> Node {
    let Node { data, mark } = node;
    let data = match data {
        Data::List(items) => {
            let expand = |(index, item)| at(item, &join(path, &format!("{index}")), problems);
            Data::List(items.into_iter().enumerate().map(expand).collect())
        }
        Data::Map(map) => Data::Map(expand_map(map, path, problems)),
        other @ (Data::Null | Data::Scalar(_)) => other,
    };
    Node { data, mark }
}

fn expand_map(map: Map, path: &str, problems: &mut Vec<Problem>) -> Map {
    let mut merged = Vec::new();
    let mut result = Map {
        entries: Vec::new(),
        implied: map.implied,
    };
    for (key, node) in map.entries {
        if key == "<<" {
            merged.push(node);
            continue;
        }
        let full = join(path, &key);
        if full.matches('.').count() > MAX_DEPTH {
            problems.push(problem(&node.mark, path, "is nested too deeply"));
            continue;
        }
        let node = at(node, &full, problems);
        let parts: Vec<&str> = key.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) {
            problems.push(problem(
                &node.mark,
                &full,
                "a key must not be empty, nor begin or end with a dot",
            ));
            continue;
        }
        let nested = nest(&parts[1..], node);
        insert(&mut result, parts[0], nested, path, problems);
    }
    for node in merged {
        add_missing(&mut result, node, path, problems);
    }
    result
}

/// Wraps `node` into one implied mapping for each of `parts`.
fn nest(parts: &[&str], node: Node) -> Node {
    parts.iter().rev().fold(node, |inner, part| {
        let mark = inner.mark.clone();
        Node {
            data: Data::Map(Map {
                entries: vec![((*part).to_owned(), inner)],
                implied: true,
            }),
            mark,
        }
    })
}

/// Puts `node` under `key`; two mappings of one path become one, anything else twice is a problem.
fn insert(map: &mut Map, key: &str, node: Node, path: &str, problems: &mut Vec<Problem>) {
    let full = join(path, key);
    let Some(present) = map.get_mut(key) else {
        map.entries.push((key.to_owned(), node));
        return;
    };
    if let (Data::Map(present), Data::Map(more)) = (&mut present.data, &node.data) {
        present.implied &= more.implied;
        for (key, node) in more.entries.clone() {
            insert(present, &key, node, &full, problems);
        }
        return;
    }
    let first = match present.mark.line {
        0 => String::new(),
        line => format!(", first on line {line}"),
    };
    problems.push(problem(
        &node.mark,
        &full,
        &format!("given twice in one file{first}"),
    ));
}

/// `<<`: a mapping, or a list of them; keys that are there already win.
fn add_missing(map: &mut Map, node: Node, path: &str, problems: &mut Vec<Problem>) {
    match node.data {
        Data::Map(more) => {
            for (key, node) in expand_map(more, path, problems).entries {
                if map.get(&key).is_none() {
                    map.entries.push((key, node));
                }
            }
        }
        Data::List(items) if items.iter().all(|item| matches!(item.data, Data::Map(_))) => {
            for item in items {
                add_missing(map, item, path, problems);
            }
        }
        _ => problems.push(problem(
            &node.mark,
            &join(path, "<<"),
            "must be a mapping or a list of mappings",
        )),
    }
}

/// `path.key`; either may be empty.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() || key.is_empty() {
        format!("{path}{key}")
    } else {
        format!("{path}.{key}")
    }
}

fn problem(mark: &Mark, path: &str, message: &str) -> Problem {
    Problem {
        file: mark.file.to_string(),
        line: (mark.line > 0).then_some(mark.line),
        path: path.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::parse;
    use super::*;

    fn expanded(text: &str) -> (Node, Vec<String>) {
        let mut problems = Vec::new();
        let node = expand(parse("x.yml", text).unwrap(), &mut problems);
        (node, problems.iter().map(Problem::to_string).collect())
    }

    fn scalar(node: &Node, path: &str) -> String {
        match &node
            .at(path)
            .unwrap_or_else(|| panic!("no {path} in {node:?}"))
            .data
        {
            Data::Scalar(scalar) => scalar.text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn dots_nest_at_any_depth_and_mix() {
        let (node, problems) = expanded("a.b: {c.d: 1, e: 2}\na:\n  f: 3\nlist:\n  - g.h: 4\n");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(scalar(&node, "a.b.c.d"), "1");
        assert_eq!(scalar(&node, "a.b.e"), "2");
        assert_eq!(scalar(&node, "a.f"), "3");
        assert_eq!(scalar(&node, "list.0.g.h"), "4");
        let implied = |path| matches!(&node.at(path).unwrap().data, Data::Map(map) if map.implied);
        assert!(implied("list.0.g") && !implied("a"), "somebody wrote `a:`");
    }

    #[test]
    fn one_setting_twice_is_refused_with_both_lines() {
        let (_, problems) = expanded("a.b: 1\na:\n  b: 2\n  c: 3\nx: 1\nx.y: 2\n");
        assert_eq!(
            problems,
            [
                "x.yml:3: a.b: given twice in one file, first on line 1",
                "x.yml:6: x: given twice in one file, first on line 5",
            ]
        );
    }

    #[test]
    fn merge_keys_add_only_what_is_missing() {
        let text = "base: &b {u.v: 1, w: 2}\none: {<<: *b, w: 3}\ntwo:\n  <<: [*b, {z: 9, w: 4}]\n";
        let (node, problems) = expanded(text);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(scalar(&node, "one.u.v"), "1");
        assert_eq!(scalar(&node, "one.w"), "3");
        assert_eq!(scalar(&node, "two.w"), "2");
        assert_eq!(scalar(&node, "two.z"), "9");
        assert_eq!(
            expanded("a: {<<: 1}").1,
            ["x.yml:1: a.<<: must be a mapping or a list of mappings"]
        );
    }

    #[test]
    fn depth_has_an_end() {
        let (_, problems) = expanded(&format!("a.b: 1\n{}c: 1\n", "x.".repeat(400)));
        assert_eq!(problems, ["x.yml:2: is nested too deeply"]);
    }

    #[test]
    fn empty_parts_are_refused() {
        let (_, problems) = expanded("a..b: 1\n.c: 2\n");
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
