//! The Markdown files of the repository, as a reader sees them: headings with their anchors, links, code.
//!
//! Judges nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The directory that everything is relative to.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// All that stands behind the fence; empty for indented blocks.
    pub(crate) info: String,
    pub(crate) text: String,
}

/// A file.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Relative to the root.
    pub(super) name: String,
    /// Text and anchor, as GitHub makes it.
    pub(super) headings: Vec<(String, String)>,
    /// Where links lead, as they are written.
    pub(super) links: Vec<String>,
    pub(crate) blocks: Vec<Block>,
    /// Code within lines.
    pub(super) spans: Vec<String>,
    /// The cells of the rows of tables, the header's too.
    pub(super) rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The heading that it stands under.
    pub(super) below: String,
    /// Code in its first cell.
    pub(super) first: Vec<String>,
}

impl Page {
    pub(crate) fn read(name: &str) -> Self {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self::of(name, &text)
    }

    pub(super) fn of(name: &str, text: &str) -> Self {
        let mut page = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut seen = BTreeMap::new();
        // What is being read: the text of a heading, a block, the first cell of a row.
        let (mut heading, mut block, mut cell) = (None::<String>, None::<Block>, None::<usize>);
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let text = heading.take().unwrap();
                    let anchor = anchor(&text, &mut seen);
                    page.headings.push((text, anchor));
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    block = Some(Block {
                        info: match kind {
                            CodeBlockKind::Fenced(info) => info.into_string(),
                            CodeBlockKind::Indented => String::new(),
                        },
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::TableRow) => {
                    let below = page
                        .headings
                        .last()
                        .map_or(String::new(), |(text, _)| text.clone());
                    page.rows.push(Row {
                        below,
                        first: Vec::new(),
                    });
                    cell = Some(0);
                }
                Event::End(TagEnd::TableCell) => cell = cell.map(|number| number + 1),
                Event::End(TagEnd::TableRow) => cell = None,
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    if let (Some(0), Some(row)) = (cell, page.rows.last_mut()) {
                        row.first.push(code.to_string());
                    }
                    page.spans.push(code.into_string());
                }
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// The blocks of a language, whatever else stands behind the fence.
    pub(crate) fn blocks_of(&self, language: &str) -> impl Iterator<Item = &Block> {
        self.blocks
            .iter()
            .filter(move |block| block.info.split_whitespace().next() == Some(language))
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str, seen: &mut BTreeMap<String, usize>) -> String {
    let plain: String = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect();
    let count = seen.entry(plain.clone()).or_insert(0);
    *count += 1;
    match *count {
        1 => plain,
        more => format!("{plain}-{}", more - 1),
    }
}

/// Every Markdown file of the repository, by its name.
pub(super) fn all() -> Vec<Page> {
    let mut names = Vec::new();
    collect(root(), &mut names);
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    let name = |path: &PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    names.iter().map(|path| Page::read(&name(path))).collect()
}

/// The README and what is in `docs/`: what operators read.
pub(super) fn for_operators() -> Vec<Page> {
    let mut pages = all();
    pages.retain(|page| page.name == "README.md" || page.name.starts_with("docs/"));
    pages
}

fn collect(directory: &Path, names: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // What is built, and what belongs to tools.
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            names.push(path);
        }
    }
}

#[test]
fn a_page_is_read_as_github_shows_it() {
    let page = Page::of(
        "a.md",
        "# What `GET /leader` is: 200?\n\n## Again\n## Again\n\nSee [it](b.md#c) and `ecsbeat run`.\n\n    make test\n\n\
         ```yaml of another program\na: 1\n```\n\n| x | y |\n|---|---|\n| `a.b`, `c` | `d` |\n",
    );
    let anchors: Vec<&str> = page.headings.iter().map(|(_, anchor)| anchor.as_str()).collect();
    assert_eq!(anchors, ["what-get-leader-is-200", "again", "again-1"]);
    assert_eq!(page.links, ["b.md#c"]);
    assert_eq!(page.spans, ["GET /leader", "ecsbeat run", "a.b", "c", "d"]);
    assert_eq!(page.blocks[0].text, "make test\n");
    assert_eq!(page.blocks_of("yaml").next().unwrap().text, "a: 1\n");
    assert_eq!(page.rows.len(), 1);
    assert_eq!(
        (page.rows[0].below.as_str(), page.rows[0].first.len()),
        ("Again", 2)
    );
}
