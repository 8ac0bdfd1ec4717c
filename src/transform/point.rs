//! Flattens `XCurrent` values: lists of points, maps of such lists, or plain scalars.
//!
//! Owns the choice of the newest point and the names of the flattened fields. Points need not be in order, and
//! their time is kept, since a "current" value may be weeks old.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::numbers::{Rule, is_number};
use super::{Name, write};

/// Writes the members that `name` becomes, separated by commas; gives false where there are none.
pub(super) struct Current<'a> {
    pub(super) name: &'a str,
    pub(super) out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Current<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Current<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of points, a map of such lists, or a scalar")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        write::name(self.out, self.name);
        write::scalar(self.out, &value);
        Ok(true)
    }

    fn visit_u64<E>(self, value: u64) -> Result<bool, E> {
        write::name(self.out, self.name);
        write::scalar(self.out, &value);
        Ok(true)
    }

    fn visit_i64<E>(self, value: i64) -> Result<bool, E> {
        write::name(self.out, self.name);
        write::scalar(self.out, &value);
        Ok(true)
    }

    fn visit_f64<E>(self, value: f64) -> Result<bool, E> {
        write::name(self.out, self.name);
        write::scalar(self.out, &value);
        Ok(true)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        write::name(self.out, self.name);
        write::Plain {
            out: self.out,
            numbers: Rule::Numbers,
            depth: 0,
        }
        .visit_str(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut newest = Point::default();
        let mut bare = Vec::new();
        let mut spare = Vec::new();
        while let Some(element) = list.next_element_seed(Element(std::mem::take(&mut spare)))? {
            match element {
                Read::Point(point) => {
                    let later = newest.members.is_empty() || point.time > newest.time;
                    let old = if later {
                        std::mem::replace(&mut newest, point)
                    } else {
                        point
                    };
                    spare = old.members;
                    spare.clear();
                }
                Read::Other(Value::Null) => {}
                Read::Other(value) => bare.push(value),
            }
        }
        if !bare.is_empty() && newest.members.is_empty() {
            // A list of something else: kept as it is.
            write::name(self.out, self.name);
            write::scalar(self.out, &bare);
            return Ok(true);
        }
        Ok(newest.write(self.name, self.out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let start = self.out.len();
        while let Some(Name(tag)) = map.next_key()? {
            let before = self.out.len();
            if before > start {
                self.out.push(b',');
            }
            let name = format!("{}_{}", self.name, tag.trim());
            if !map.next_value_seed(Current {
                name: &name,
                out: &mut *self.out,
            })? {
                self.out.truncate(before);
            }
        }
        Ok(self.out.len() > start)
    }
}

/// The members of a point, and its time: seconds since 1970.
#[derive(Default)]
struct Point<'de> {
    time: Option<i64>,
    members: Vec<(Cow<'de, str>, Leaf<'de>)>,
}

enum Leaf<'de> {
    Text(Cow<'de, str>),
    Other(Value),
}

impl Point<'_> {
    fn write(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        for (key, leaf) in &self.members {
            let before = out.len();
            if before > start {
                out.push(b',');
            }
            // The documents print stray blanks around some keys.
            write::name(out, &format!("{name}_{}", key.trim()));
            let wrote = match leaf {
                Leaf::Text(text) if text.is_empty() || text == "N/A" => false,
                Leaf::Text(text) if is_number(text) => {
                    out.extend_from_slice(text.as_bytes());
                    true
                }
                Leaf::Text(text) => {
                    write::string(out, text);
                    true
                }
                Leaf::Other(Value::Null) => false,
                Leaf::Other(value) => {
                    write::scalar(out, value);
                    true
                }
            };
            if !wrote {
                out.truncate(before);
            }
        }
        out.len() > start
    }
}

enum Read<'de> {
    Point(Point<'de>),
    Other(Value),
}

/// One element of the list; the vector is reused from point to point.
struct Element<'de>(Vec<(Cow<'de, str>, Leaf<'de>)>);

impl<'de> DeserializeSeed<'de> for Element<'de> {
    type Value = Read<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'de> {
    type Value = Read<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a point")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut point = Point {
            time: None,
            members: self.0,
        };
        while let Some(Name(key)) = map.next_key()? {
            let leaf = map.next_value::<Leaf<'de>>()?;
            if key.trim() == "t" {
                point.time = match &leaf {
                    Leaf::Text(text) => text.parse().ok(),
                    Leaf::Other(value) => value.as_i64(),
                };
            }
            point.members.push((key, leaf));
        }
        Ok(Read::Point(point))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Read::Other(Value::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Read::Other(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Read::Other(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Read::Other(value.into()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Read::Other(value.into()))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Read::Other(text.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Read::Other(Value::Array(values)))
    }
}

impl<'de> serde::Deserialize<'de> for Leaf<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Leaf<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Leaf::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Leaf::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Leaf::Other(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Leaf::Other(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Leaf::Other(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Leaf::Other(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Leaf::Other(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Leaf::Other(Value::Array(values)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = serde_json::Map::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if !super::is_secret(&key) {
                        members.insert(key, value);
                    }
                }
                Ok(Leaf::Other(Value::Object(members)))
            }
        }
        reader.deserialize_any(Any)
    }
}
