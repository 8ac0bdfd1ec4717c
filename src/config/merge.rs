//! Laying one source over another: mappings merge deep, everything else is replaced, lists as a whole.
//!
//! A mapping whose keys are all numbers addresses entries of a list (`-E ecsbeat.customers.0.password=…`).

use super::node::{Data, Map, Node};

/// `over` laid over `base`.
pub(super) fn merge(base: Node, over: Node) -> Node {
    let Node { data, mark } = over;
    match (base.data, data) {
        (Data::Map(mut base_map), Data::Map(over_map)) => {
            for (key, node) in over_map.entries {
                match base_map.get_mut(&key) {
                    Some(present) => {
                        let old = std::mem::replace(present, Node::empty_map(node.mark.clone()));
                        *present = merge(old, node);
                    }
                    None => base_map.entries.push((key, node)),
                }
            }
            base_map.implied &= over_map.implied;
            Node {
                data: Data::Map(base_map),
                mark: base.mark,
            }
        }
        (Data::List(mut list), Data::Map(over_map)) if addresses(&over_map, list.len()) => {
            for (key, node) in over_map.entries {
                match key.parse::<usize>().ok().filter(|index| *index < list.len()) {
                    Some(index) => {
                        let old = std::mem::replace(&mut list[index], Node::empty_map(node.mark.clone()));
                        list[index] = merge(old, node);
                    }
                    None => list.push(node),
                }
            }
            Node {
                data: Data::List(list),
                mark: base.mark,
            }
        }
        (_, data) => Node { data, mark },
    }
}

/// Whether every key is the place of an entry, or the next free one.
fn addresses(map: &Map, length: usize) -> bool {
    let mut next = length;
    !map.entries.is_empty()
        && map.entries.iter().all(|(key, _)| match key.parse::<usize>() {
            Ok(index) if index < length => true,
            Ok(index) if index == next => {
                next += 1;
                true
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::super::{dotted, source};
    use super::*;

    fn merged(base: &str, over: &str) -> Node {
        let mut problems = Vec::new();
        let base = dotted::expand(source::parse("a.yml", base).unwrap(), &mut problems);
        let over = dotted::expand(source::parse("b.yml", over).unwrap(), &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        merge(base, over)
    }

    fn scalar(node: &Node, path: &str) -> Option<String> {
        match &node.at(path)?.data {
            Data::Scalar(scalar) => Some(scalar.text.clone()),
            _ => None,
        }
    }

    #[test]
    fn mappings_merge_and_lists_replace() {
        let node = merged("a: {b: 1, c: 2}\nl: [1, 2, 3]", "a.c: 3\nl: [9]\nd: 4");
        assert_eq!(scalar(&node, "a.b").as_deref(), Some("1"));
        assert_eq!(scalar(&node, "a.c").as_deref(), Some("3"));
        assert_eq!(scalar(&node, "l.0").as_deref(), Some("9"));
        assert!(node.at("l.1").is_none());
        assert_eq!(scalar(&node, "d").as_deref(), Some("4"));
        assert_eq!(&*node.at("a.c").unwrap().mark.file, "b.yml");
    }

    #[test]
    fn numbers_address_entries_of_a_list() {
        let node = merged("l: [{u: 1, v: 2}, {u: 3}]", "l.1.v: 9\nl.2.u: 5");
        assert_eq!(scalar(&node, "l.0.v").as_deref(), Some("2"));
        assert_eq!(scalar(&node, "l.1.u").as_deref(), Some("3"));
        assert_eq!(scalar(&node, "l.1.v").as_deref(), Some("9"));
        assert_eq!(scalar(&node, "l.2.u").as_deref(), Some("5"));
        let replaced = merged("l: [1]", "l.7: 1");
        assert!(matches!(replaced.at("l").unwrap().data, Data::Map(_)));
    }

    #[test]
    fn null_takes_the_place_of_anything() {
        assert_eq!(merged("a: {b: 1}", "a: ~").at("a").unwrap().data, Data::Null);
    }
}
