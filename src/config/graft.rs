//! References to whole settings: `ssl: ${output.elasticsearch.ssl}` puts the mapping in its place.
//!
//! Runs once over the merged tree, before it is read. References to texts are left to [`super::expand`].

use super::dotted::join;
use super::errors::Problem;
use super::expand::{ExpandError, MAX_DEPTH};
use super::node::{Data, Map, Mark, Node};
use super::reference;

/// References that multiply beyond this are a mistake.
const MAX_NODES: usize = 1_000_000;

/// The tree with references to lists and mappings filled in; cycles are added to `problems`.
pub(super) fn graft(root: &Node, problems: &mut Vec<Problem>) -> Node {
    let mut graft = Graft {
        root,
        open: Vec::new(),
        nodes: 0,
        problems,
    };
    graft.node(root, "")
}

struct Graft<'r, 'p> {
    root: &'r Node,
    /// What is being put in, outermost first.
    open: Vec<String>,
    nodes: usize,
    problems: &'p mut Vec<Problem>,
}

// === impl Graft ===

impl Graft<'_, '_> {
    fn node(&mut self, node: &Node, path: &str) -> Node {
        self.nodes += 1;
        let data = match &node.data {
            Data::Scalar(scalar) => {
                let target =
                    reference::whole(&scalar.text).and_then(|name| Some((self.root.at(&name)?, name)));
                return match target {
                    Some((target, name)) if matches!(target.data, Data::List(_) | Data::Map(_)) => {
                        self.target(target, name, path, &node.mark)
                    }
                    _ => node.clone(),
                };
            }
            Data::List(items) => {
                let place = |(index, item): (usize, &Node)| self.node(item, &join(path, &index.to_string()));
                Data::List(items.iter().enumerate().map(place).collect())
            }
            Data::Map(map) => {
                let place = |(key, node): &(String, Node)| (key.clone(), self.node(node, &join(path, key)));
                Data::Map(Map {
                    entries: map.entries.iter().map(place).collect(),
                    implied: map.implied,
                })
            }
            Data::Null => Data::Null,
        };
        Node {
            data,
            mark: node.mark.clone(),
        }
    }

    fn target(&mut self, target: &Node, name: String, path: &str, mark: &Mark) -> Node {
        // A setting that holds the reference to itself never ends, nor do two that hold each other.
        let inside = format!("{path}.").starts_with(&format!("{name}."));
        let error = if inside || self.open.contains(&name) {
            ExpandError::Cycle(name)
        } else if self.open.len() > MAX_DEPTH {
            ExpandError::TooDeep
        } else if self.nodes > MAX_NODES {
            ExpandError::TooLarge
        } else {
            self.open.push(name);
            let node = self.node(target, path);
            self.open.pop();
            return node;
        };
        self.problems.push(Problem {
            file: mark.file.to_string(),
            line: (mark.line > 0).then_some(mark.line),
            path: path.to_owned(),
            message: error.to_string(),
        });
        Node {
            data: Data::Null,
            mark: mark.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{dotted, source};
    use super::*;

    fn settings(text: &str) -> Node {
        dotted::expand(source::parse("x.yml", text).unwrap(), &mut Vec::new())
    }

    #[test]
    fn whole_settings_take_the_place_of_their_reference() {
        let root = settings("a: {b: 1, c: [2]}\nx: ${a}\ny: {z: '${x}', w: '${a.c}', v: '${a.b}'}\n");
        let mut problems = Vec::new();
        let grafted = graft(&root, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(grafted.at("x.b").is_some() && grafted.at("y.w.0").is_some());
        assert!(matches!(grafted.at("y.v").unwrap().data, Data::Scalar(_)));

        let root = settings("a: {b: '${a}'}\nc: {d: '${e}'}\ne: {f: '${c}'}\n");
        graft(&root, &mut problems);
        assert!(problems[0].message.contains("cyclic"), "{problems:?}");
        assert!(problems.len() >= 3);
    }

    #[test]
    fn references_that_multiply_have_an_end() {
        let mut lines = vec![String::from("a0: [1, 2]")];
        lines.extend((1..25).map(|index| {
            let before = index - 1;
            format!("a{index}: ['${{a{before}}}', '${{a{before}}}']")
        }));
        let text = lines.join("\n");
        let mut problems = Vec::new();
        graft(&settings(&text), &mut problems);
        assert!(problems[0].message.contains("too large"), "{}", problems[0]);
    }
}
