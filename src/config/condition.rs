//! `when` and `if`: conditions on an event's fields.
//!
//! Owns the types and their reading; whether one holds for an event is [`crate::condition`]'s.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::Pattern;
use super::field::Field;
use super::section::Section;
use crate::json::Number;

/// A condition on an event's fields.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Every field equals its value (string, integer or bool).
    Equals(BTreeMap<String, Value>),
    /// Every field (a string or a list of strings) contains its value.
    Contains(BTreeMap<String, String>),
    /// Every field (a string or a list of strings) matches its expression.
    Regexp(BTreeMap<String, Pattern>),
    /// Every field exists.
    HasFields(Vec<String>),
    /// Every field lies within its bounds.
    Range(BTreeMap<String, Bounds>),
    /// Every field (an address or a list of addresses) lies within one of its networks.
    Network(BTreeMap<String, Vec<IpNetwork>>),
    /// All of them hold.
    And(Vec<Condition>),
    /// One of them holds.
    Or(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
}

/// Bounds of a `range` condition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// `lt`
    pub lt: Option<Number>,
    /// `lte`
    pub lte: Option<Number>,
    /// `gt`
    pub gt: Option<Number>,
    /// `gte`
    pub gte: Option<Number>,
}

/// Where an address may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpNetwork {
    /// `address/prefix`: the addresses that have the first `prefix` bits of `address`.
    Cidr {
        /// Any address of it.
        address: IpAddr,
        /// Bits, at most 32 or 128.
        prefix: u8,
    },
    /// A range by its name.
    Named(NamedNetwork),
}

/// The ranges that Beats have names for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedNetwork {
    /// `loopback`
    Loopback,
    /// `unicast`, `global_unicast`: every unicast address but loopback and link-local ones; private ones are in it.
    Unicast,
    /// `link_local_unicast`
    LinkLocalUnicast,
    /// `multicast`
    Multicast,
    /// `interface_local_multicast`, which IPv6 has.
    InterfaceLocalMulticast,
    /// `link_local_multicast`
    LinkLocalMulticast,
    /// `private`: RFC 1918 and RFC 4193.
    Private,
    /// `public`: none of loopback, unspecified, the broadcast address, link-local, interface-local, private.
    Public,
    /// `unspecified`: `0.0.0.0` and `::`.
    Unspecified,
}

/// By the names of Beats.
const NAMED: [(&str, NamedNetwork); 10] = [
    ("loopback", NamedNetwork::Loopback),
    ("private", NamedNetwork::Private),
    ("public", NamedNetwork::Public),
    ("unicast", NamedNetwork::Unicast),
    ("global_unicast", NamedNetwork::Unicast),
    ("multicast", NamedNetwork::Multicast),
    ("link_local_unicast", NamedNetwork::LinkLocalUnicast),
    ("interface_local_multicast", NamedNetwork::InterfaceLocalMulticast),
    ("link_local_multicast", NamedNetwork::LinkLocalMulticast),
    ("unspecified", NamedNetwork::Unspecified),
];

/// What a condition can be, for messages.
const KINDS: &str = "equals, contains, regexp, range, network, has_fields, and, or, not";

/// Reads one condition; `None` if it is wrong, which is told then.
pub(super) fn read(field: &Field<'_>) -> Option<Condition> {
    field.section(|section| {
        let mut found = Vec::new();
        if let Some(field) = section.field("equals") {
            found.push(Condition::Equals(equals(&field)));
        }
        if section.field("contains").is_some() {
            found.push(Condition::Contains(
                section.pairs("contains").into_iter().collect(),
            ));
        }
        if let Some(field) = section.field("regexp") {
            found.push(Condition::Regexp(regexp(&field)));
        }
        if let Some(fields) = section.texts("has_fields") {
            found.push(Condition::HasFields(fields));
        }
        if let Some(field) = section.field("range") {
            found.push(Condition::Range(range(&field)));
        }
        if let Some(field) = section.field("network") {
            found.push(Condition::Network(network(&field)));
        }
        nested(section, &mut found);
        if found.len() > 1 {
            section.problem("", "one condition is expected; join several with `and` or `or`");
        } else if found.is_empty() {
            section.problem("", format!("needs one of {KINDS}"));
        }
        found.pop()
    })
}

fn nested(section: &Section<'_>, found: &mut Vec<Condition>) {
    for (key, make) in [
        ("and", Condition::And as fn(Vec<Condition>) -> Condition),
        ("or", Condition::Or),
    ] {
        if let Some(items) = section.field(key).and_then(|field| field.items()) {
            if items.is_empty() {
                section.problem(key, "needs at least one condition");
            }
            found.push(make(items.iter().filter_map(read).collect()));
        }
    }
    if let Some(field) = section.field("not") {
        found.extend(read(&field).map(|inner| Condition::Not(Box::new(inner))));
    }
}

fn equals(field: &Field<'_>) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    for (name, field) in field.flat().unwrap_or_default() {
        match field.json() {
            value @ (Value::String(_) | Value::Bool(_)) => {
                fields.insert(name, value);
            }
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                fields.insert(name, Value::Number(number));
            }
            _ => field.expected("a text, a whole number or a bool"),
        }
    }
    fields
}

fn regexp(field: &Field<'_>) -> BTreeMap<String, Pattern> {
    let fields = field.flat().unwrap_or_default().into_iter();
    fields
        .filter_map(|(name, field)| Some((name, Pattern::read(&field)?)))
        .collect()
}

/// `range: {field: {gte: 1}}` and `range.field.gte: 1` are the same.
fn range(field: &Field<'_>) -> BTreeMap<String, Bounds> {
    let mut fields: BTreeMap<String, Bounds> = BTreeMap::new();
    for (name, field) in field.flat().unwrap_or_default() {
        let Some((name, operator)) = name.rsplit_once('.') else {
            field.problem("needs one of lt, lte, gt, gte");
            continue;
        };
        let number = field.parsed("a number", |text| {
            Number::parse(text.trim()).ok_or_else(String::new)
        });
        let bounds = fields.entry(name.to_owned()).or_default();
        match operator {
            "lt" => bounds.lt = number,
            "lte" => bounds.lte = number,
            "gt" => bounds.gt = number,
            "gte" => bounds.gte = number,
            _ => field.problem("needs one of lt, lte, gt, gte"),
        }
    }
    fields
}

fn network(field: &Field<'_>) -> BTreeMap<String, Vec<IpNetwork>> {
    let mut fields = BTreeMap::new();
    for (name, field) in field.flat().unwrap_or_default() {
        let items = field.items().unwrap_or_default();
        if items.is_empty() {
            field.problem("needs at least one network");
        }
        let networks = items.iter().filter_map(|item| {
            item.parsed("a network such as 10.0.0.0/8, or the name of one", |text| {
                one_network(text.trim()).ok_or_else(|| {
                    let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
                    format!(
                        "write an address and the length of its prefix, or one of {}",
                        names.join(", ")
                    )
                })
            })
        });
        fields.insert(name, networks.collect());
    }
    fields
}

fn one_network(text: &str) -> Option<IpNetwork> {
    if let Some((_, named)) = NAMED.iter().find(|(name, _)| *name == text) {
        return Some(IpNetwork::Named(*named));
    }
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    // A sign or leading zeros are no part of the notation.
    let prefix = prefix
        .parse()
        .ok()
        .filter(|parsed: &u8| *parsed <= most && parsed.to_string() == prefix)?;
    Some(IpNetwork::Cidr { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_an_address_with_a_prefix_or_a_name() {
        let cidr = |address: &str, prefix| {
            Some(IpNetwork::Cidr {
                address: address.parse().unwrap(),
                prefix,
            })
        };
        assert_eq!(one_network("192.0.2.7/24"), cidr("192.0.2.7", 24));
        assert_eq!(one_network("2001:db8::/32"), cidr("2001:db8::", 32));
        assert_eq!(one_network("0.0.0.0/0"), cidr("0.0.0.0", 0));
        assert_eq!(
            one_network("private"),
            Some(IpNetwork::Named(NamedNetwork::Private))
        );
        for wrong in [
            "",
            "10.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/",
            "::/129",
            "10.0/8",
            "Private",
            "fe80::1%eth0/64",
        ] {
            assert_eq!(one_network(wrong), None, "{wrong}");
        }
    }
}
