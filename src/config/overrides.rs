//! `-E key=value`: the value grammar of the command line, a superset of JSON.
//!
//! Unquoted, `'single'` and `"double"` quoted text, `[lists]`, `{objects}`, trailing commas. Unquoted text with
//! commas at the top becomes a list only where a list is expected, so that a password may hold a comma. A
//! message never shows the value: it may be a secret.

use super::errors::Problem;
use super::node::{Data, Map, Mark, Node, Scalar, Style};

/// Nesting beyond this is nobody's configuration.
const MAX_DEPTH: usize = 64;

/// Why a value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("the list is not closed with ]")]
    OpenList,
    #[error("the object is not closed with }}")]
    OpenObject,
    #[error("the quoted text is not closed")]
    OpenQuote,
    #[error("an object needs `key: value` pairs")]
    Pair,
    #[error("the escape in the double-quoted text is not one of JSON")]
    Escape,
    #[error("there is text behind the value that does not belong to it")]
    Trailing,
    #[error("it is nested too deeply")]
    TooDeep,
}

/// Reads one `-E` argument. `Ok(None)`: nothing was given (`key=`), which changes nothing.
pub(super) fn parse(argument: &str) -> Result<Option<Node>, Problem> {
    let mark = Mark::of("-E");
    let (key, value) = argument.split_once('=').unwrap_or((argument, "true"));
    let key = key.trim();
    if key.is_empty() {
        return Err(Problem {
            file: "-E".to_owned(),
            line: None,
            path: String::new(),
            message: "expected key=value".to_owned(),
        });
    }
    if value.trim().is_empty() {
        return Ok(None);
    }
    let node = parse_value(value, &mark).map_err(|error| Problem {
        file: "-E".to_owned(),
        line: None,
        path: key.to_owned(),
        message: error.to_string(),
    })?;
    Ok(Some(Node {
        data: Data::Map(Map {
            entries: vec![(key.to_owned(), node)],
            implied: true,
        }),
        mark,
    }))
}

/// Reads a value of the command line or the environment.
pub(super) fn parse_value(text: &str, mark: &Mark) -> Result<Node, ValueError> {
    let trimmed = text.trim();
    if !trimmed.starts_with(['[', '{', '"', '\'']) {
        return Ok(plain(trimmed, Style::Argument, mark));
    }
    let mut items = split(trimmed, mark)?;
    Ok(if items.len() == 1 {
        items.swap_remove(0)
    } else {
        Node {
            data: Data::List(items),
            mark: mark.clone(),
        }
    })
}

/// Reads `a,b`, `[a, b]` or one value as the entries of a list.
pub(super) fn parse_list(text: &str, mark: &Mark) -> Result<Vec<Node>, ValueError> {
    let mut items = split(text.trim(), mark)?;
    if let [
        Node {
            data: Data::List(inner),
            ..
        },
    ] = items.as_mut_slice()
    {
        return Ok(std::mem::take(inner));
    }
    Ok(items)
}

fn split(text: &str, mark: &Mark) -> Result<Vec<Node>, ValueError> {
    let mut scanner = Scanner { rest: text, mark };
    let mut items = Vec::new();
    loop {
        scanner.skip_space();
        if scanner.rest.is_empty() {
            return Ok(items);
        }
        items.push(scanner.value(",", 0)?);
        scanner.skip_space();
        if !scanner.rest.is_empty() && !scanner.take(',') {
            return Err(ValueError::Trailing);
        }
    }
}

fn plain(text: &str, style: Style, mark: &Mark) -> Node {
    let data = match text {
        "" | "null" => Data::Null,
        text => Data::Scalar(Scalar {
            text: text.to_owned(),
            style,
        }),
    };
    Node {
        data,
        mark: mark.clone(),
    }
}

struct Scanner<'t> {
    rest: &'t str,
    mark: &'t Mark,
}

// === impl Scanner ===

impl<'t> Scanner<'t> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// One value; unquoted text ends before any of `stops`.
    fn value(&mut self, stops: &str, depth: usize) -> Result<Node, ValueError> {
        if depth > MAX_DEPTH {
            return Err(ValueError::TooDeep);
        }
        self.skip_space();
        if self.take('[') {
            return self.list(depth);
        }
        if self.take('{') {
            return self.object(depth);
        }
        if self.rest.starts_with(['"', '\'']) {
            let text = self.quoted()?;
            let data = Data::Scalar(Scalar {
                text,
                style: Style::Quoted,
            });
            return Ok(Node {
                data,
                mark: self.mark.clone(),
            });
        }
        let text = self.unquoted(stops);
        Ok(plain(text, Style::Plain, self.mark))
    }

    fn list(&mut self, depth: usize) -> Result<Node, ValueError> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take(']') {
                return Ok(Node {
                    data: Data::List(items),
                    mark: self.mark.clone(),
                });
            }
            items.push(self.value(",]", depth + 1)?);
            self.skip_space();
            if !self.take(',') && !self.rest.starts_with(']') {
                return Err(if self.rest.is_empty() {
                    ValueError::OpenList
                } else {
                    ValueError::Trailing
                });
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node, ValueError> {
        let mut entries = Vec::new();
        loop {
            self.skip_space();
            if self.take('}') {
                return Ok(Node {
                    data: Data::Map(Map {
                        entries,
                        implied: false,
                    }),
                    mark: self.mark.clone(),
                });
            }
            if self.rest.is_empty() {
                return Err(ValueError::OpenObject);
            }
            let key = if self.rest.starts_with(['"', '\'']) {
                self.quoted()?
            } else {
                self.unquoted(":,}").to_owned()
            };
            self.skip_space();
            if key.is_empty() || !self.take(':') {
                return Err(ValueError::Pair);
            }
            let value = self.value(",}", depth + 1)?;
            entries.push((key, value));
            self.skip_space();
            if !self.take(',') && !self.rest.starts_with('}') {
                return Err(if self.rest.is_empty() {
                    ValueError::OpenObject
                } else {
                    ValueError::Trailing
                });
            }
        }
    }

    /// Text up to one of `stops` outside of `${…}`.
    fn unquoted(&mut self, stops: &str) -> &'t str {
        let mut open = 0_usize;
        let mut before = ' ';
        let mut end = self.rest.len();
        for (index, c) in self.rest.char_indices() {
            match c {
                '{' if before == '$' => open += 1,
                '}' if open > 0 => open -= 1,
                c if open == 0 && stops.contains(c) => {
                    end = index;
                    break;
                }
                _ => {}
            }
            before = c;
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        text.trim()
    }

    fn quoted(&mut self) -> Result<String, ValueError> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map_or('"', |(_, c)| c);
        let mut escaped = false;
        for (index, c) in chars {
            if escaped {
                escaped = false;
            } else if c == '\\' && quote == '"' {
                escaped = true;
            } else if c == quote {
                let (text, rest) = self.rest.split_at(index + 1);
                self.rest = rest;
                if quote == '"' {
                    return serde_json::from_str(text).map_err(|_| ValueError::Escape);
                }
                return Ok(text[1..index].to_owned());
            }
        }
        Err(ValueError::OpenQuote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A short form to compare with: quoted text in quotes, lists and maps in brackets.
    fn show(node: &Node) -> String {
        match &node.data {
            Data::Null => "~".to_owned(),
            Data::Scalar(scalar) if scalar.style == Style::Quoted => format!("{:?}", scalar.text),
            Data::Scalar(scalar) => scalar.text.clone(),
            Data::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Data::Map(map) => {
                let entries: Vec<_> = map
                    .entries
                    .iter()
                    .map(|(key, node)| format!("{key}={}", show(node)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn reads_the_superset_of_json() {
        for (argument, expected) in [
            ("a=1", "{a=1}"),
            ("a", "{a=true}"),
            ("a.b=http://x:9200/p?q=1", "{a.b=http://x:9200/p?q=1}"),
            ("a=null", "{a=~}"),
            ("a=[x, 'y',\"z\\n\", ]", "{a=[x \"y\" \"z\\n\"]}"),
            (
                "output={elasticsearch.enabled: false, console.pretty: true,}",
                "{output={elasticsearch.enabled=false console.pretty=true}}",
            ),
            ("a=\"x\",\"y\"", "{a=[\"x\" \"y\"]}"),
            ("a=${X:b,c}", "{a=${X:b,c}}"),
            ("a=[${X:b,c}, d]", "{a=[${X:b,c} d]}"),
            ("a='it'", "{a=\"it\"}"),
            ("a={}", "{a={}}"),
        ] {
            let node = parse(argument)
                .unwrap_or_else(|problem| panic!("{argument}: {problem}"))
                .unwrap();
            assert_eq!(show(&node), expected, "{argument}");
        }
        assert_eq!(parse("a="), Ok(None));
    }

    #[test]
    fn text_with_commas_is_left_to_the_key_that_is_read() {
        let node = parse("a=x,y").unwrap().unwrap();
        assert_eq!(show(&node), "{a=x,y}");
        let items = parse_list("x, [y], ", &Mark::of("-E")).unwrap();
        assert_eq!(items.iter().map(show).collect::<Vec<_>>(), ["x", "[y]"]);
        let items = parse_list("[x,y]", &Mark::of("-E")).unwrap();
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn a_message_never_holds_the_value() {
        for argument in [
            "p=[ChangeMe",
            "p={ChangeMe",
            "p={a: ChangeMe",
            "p='ChangeMe",
            "p=\"ChangeMe\\q\"",
            "p='x' ChangeMe",
        ] {
            let problem = parse(argument).unwrap_err().to_string();
            assert!(
                problem.starts_with("-E: p: ") && !problem.contains("ChangeMe"),
                "{problem}"
            );
        }
        assert!(parse("=ChangeMe").is_err());
    }

    #[test]
    fn nesting_has_an_end() {
        assert_eq!(
            parse_value(&"[".repeat(100_000), &Mark::of("-E")),
            Err(ValueError::TooDeep)
        );
        assert_eq!(
            parse_value(&"{a:".repeat(100_000), &Mark::of("-E")),
            Err(ValueError::TooDeep)
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = (parse(&text), parse_list(&text, &Mark::of("-E")));
        }

        #[test]
        fn never_panics_on_near_misses(text in "a=[\\[\\]{}:,\"'$a\\\\ é]{0,40}") {
            let _ = (parse(&text), parse_list(&text, &Mark::of("-E")));
        }

        #[test]
        fn json_is_read(value in "[a-zA-Z0-9 é\"\\\\,:{}\\[\\]]{0,20}") {
            let node = parse_value(&serde_json::to_string(&[&value]).unwrap(), &Mark::of("-E")).unwrap();
            let expected = Node {
                data: Data::Scalar(Scalar { text: value, style: Style::Quoted }),
                mark: Mark::of("-E"),
            };
            prop_assert_eq!(node.data, Data::List(vec![expected]));
        }
    }
}
