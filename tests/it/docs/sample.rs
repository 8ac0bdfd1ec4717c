//! `ecsbeat.yml`, the sample, read for its words: sections, and in them keys with what is written about them.
//!
//! Owns the conventions of that file: `# ===` begins a section, `# ---` a part of one, `# ` is prose about what stands
//! right below it, `#key:` is a key that is switched off. What a value means is not known here.

/// A section or a part of one.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) title: String,
    /// 2 or 3, as headings have it; 0 for what stands before the first.
    pub(super) level: usize,
    /// What is said about the whole of it, a paragraph each.
    pub(super) prose: Vec<Vec<String>>,
    pub(super) keys: Vec<Key>,
}

/// A key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// With dots; `[]` for each entry of a list.
    pub(super) path: String,
    /// As it is written; empty where it has keys or entries below it.
    pub(super) value: String,
    /// Lines of prose.
    pub(super) prose: Vec<String>,
    /// It stands right below another one, with which it shares the prose.
    pub(super) shares: bool,
    /// Its line of the file, from 0.
    pub(super) line: usize,
    /// It is a list.
    pub(super) list: bool,
    /// All of it as YAML, where that says more than a table could: conditions, and processors of one command.
    pub(super) example: Vec<String>,
}

/// The line as it is when it is switched on; `None` where it is prose.
pub(super) fn switched_on(line: &str) -> Option<String> {
    let start = line.len() - line.trim_start().len();
    match line[start..].strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '-') => {
            Some(format!("{}{key}", &line[..start]))
        }
        Some(_) => None,
        None => Some(line.to_owned()),
    }
}

/// Reads all of it.
pub(super) fn read(text: &str) -> Vec<Section> {
    let mut reader = Reader {
        sections: vec![Section::default()],
        ..Reader::default()
    };
    for (number, line) in text.lines().enumerate() {
        reader.take(number, line);
    }
    reader.end_of_paragraph();
    reader
        .sections
        .retain(|section| !section.prose.is_empty() || !section.keys.is_empty());
    reader.sections
}

#[derive(Default)]
struct Reader {
    sections: Vec<Section>,
    /// Lines of prose that no key has followed yet.
    pending: Vec<String>,
    /// Names above the present line, with their columns; `[]` stands for an entry of a list.
    above: Vec<(usize, String)>,
    /// Since the last blank line there was a key in this column.
    adjacent: Option<usize>,
    /// Lines further to the right belong to the example of the last key.
    example: Option<usize>,
}

impl Reader {
    fn section(&mut self) -> &mut Section {
        self.sections.last_mut().expect("there is one from the beginning")
    }

    fn take(&mut self, number: usize, line: &str) {
        let trimmed = line.trim();
        let heading = |mark: char| {
            let title = trimmed
                .strip_prefix("# ")?
                .strip_prefix(mark)?
                .strip_suffix(mark)?;
            Some(title.trim_matches(mark).trim().to_owned())
        };
        if trimmed.is_empty() {
            self.end_of_paragraph();
        } else if trimmed.starts_with("##") {
            // The name of the file.
        } else if let Some(title) = heading('=') {
            self.begin(title, 2);
        } else if let Some(title) = heading('-') {
            self.begin(title, 3);
        } else if let Some(line) = switched_on(line) {
            self.key(number, &line);
        } else {
            let prose = trimmed.trim_start_matches('#');
            self.pending
                .push(prose.strip_prefix(' ').unwrap_or(prose).to_owned());
        }
    }

    fn begin(&mut self, title: String, level: usize) {
        self.end_of_paragraph();
        self.sections.push(Section {
            title,
            level,
            ..Section::default()
        });
    }

    /// Prose that is followed by a blank line: about the key above it, or about all that follows.
    fn end_of_paragraph(&mut self) {
        let prose = std::mem::take(&mut self.pending);
        let follows_key = self.adjacent.take().is_some();
        if prose.is_empty() {
            return;
        }
        match self.section().keys.last_mut() {
            Some(key) if follows_key => key.prose.extend(prose),
            _ => self.section().prose.push(prose),
        }
    }

    fn key(&mut self, number: usize, line: &str) {
        let column = line.len() - line.trim_start().len();
        if let Some(begin) = self.example {
            if column > begin {
                if let Some(key) = self.section().keys.last_mut() {
                    key.example.push(line.to_owned());
                }
                self.pending.clear();
                return;
            }
            self.example = None;
        }
        let (mut column, mut rest) = (column, line.trim());
        self.leave(column);
        let mut entry = false;
        while let Some(inner) = rest.strip_prefix("- ") {
            entry = true;
            self.above.push((column, "[]".to_owned()));
            rest = inner.trim_start();
            column += 2;
        }
        let Some((name, value)) = split(rest) else {
            // An entry without a name: an example of the list.
            let list = self.path();
            let list = list.trim_end_matches("[]");
            if let Some(key) = self.section().keys.iter_mut().rev().find(|key| key.path == list) {
                key.value = format!("[{rest}]");
                key.list = true;
            }
            return;
        };
        if entry {
            let list = self.path();
            let list = list.trim_end_matches("[]").to_owned();
            if let Some(key) = self.section().keys.iter_mut().rev().find(|key| key.path == list) {
                key.list = true;
            }
        }
        self.leave(column);
        // A condition in one line.
        let (name, value) = match name.split_once("when.") {
            Some((before, kind)) => (format!("{before}when"), format!("{{{kind}: {value}}}")),
            None => (name.to_owned(), value.to_owned()),
        };
        self.above.push((column, name.clone()));
        let path = self.path();
        let shares = self.pending.is_empty() && self.adjacent == Some(column) && !entry;
        let in_full = value.is_empty()
            && (name.ends_with("when") || name == "if" || path == "ecsbeat.commands[].processors");
        if in_full {
            // All of an entry that begins with it.
            self.example = Some(if entry { column - 2 } else { column });
        }
        let prose = std::mem::take(&mut self.pending);
        self.adjacent = Some(column);
        self.section().keys.push(Key {
            path,
            value,
            prose,
            shares,
            line: number,
            list: false,
            example: if in_full {
                vec![line.to_owned()]
            } else {
                Vec::new()
            },
        });
    }

    /// Forgets what the column is no longer below of.
    fn leave(&mut self, column: usize) {
        while self.above.last().is_some_and(|(above, _)| *above >= column) {
            self.above.pop();
        }
    }

    fn path(&self) -> String {
        let names: Vec<&str> = self.above.iter().map(|(_, name)| name.as_str()).collect();
        names.join(".").replace(".[]", "[]")
    }
}

/// Name and value; `None` where there is no name.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['{', '[', '"', '\'']) {
        return None;
    }
    match text.split_once(": ") {
        Some((name, value)) => Some((name, value.trim())),
        None => text.strip_suffix(':').map(|name| (name, "")),
    }
}

#[test]
fn the_words_go_to_their_keys() {
    let sections = read(
        "##### title #####\n# About all.\n\n# ==== One ====\n\n# About this.\n#a:\n  # First,\n  # second.\n  #b.c: 1s\n  #d: 2\n\n  \
         e:\n    # Third.\n    - f: x\n      # Fourth.\n\n      #when:\n        #equals: {a: b}\n    #- g.when.equals: {h: i}\n",
    );
    assert_eq!(sections.len(), 2);
    assert_eq!(sections[0].prose, [["About all."]]);
    let keys: Vec<(&str, &str, String, bool)> = sections[1]
        .keys
        .iter()
        .map(|key| {
            (
                key.path.as_str(),
                key.value.as_str(),
                key.prose.join("|"),
                key.shares,
            )
        })
        .collect();
    let text = str::to_owned;
    assert_eq!(
        keys,
        [
            ("a", "", text("About this."), false),
            ("a.b.c", "1s", text("First,|second."), false),
            ("a.d", "2", text(""), true),
            ("a.e", "", text(""), false),
            ("a.e[].f", "x", text("Third.|Fourth."), false),
            ("a.e[].when", "", text(""), false),
            ("a.e[].g.when", "{equals: {h: i}}", text(""), false),
        ]
    );
    assert_eq!(
        sections[1].keys[5].example,
        ["      when:", "        equals: {a: b}"]
    );
    assert!(sections[1].keys[3].list && !sections[1].keys[0].list);
}
