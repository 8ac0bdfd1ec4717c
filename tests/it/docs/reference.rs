//! `docs/configuration.md` is made of `ecsbeat.yml`, which `src/config/sample.rs` holds to what the code reads.
//!
//! Owns the form of that page. Whether a value is the default, an example or required is not written down anywhere: it
//! is found out, by leaving the key out.

use std::fmt::Write as _;
use std::fs;
use std::sync::LazyLock;

use ecsbeat::config::{Config, Sources, load};

use super::page::root;
use super::sample::{self, Key, Section, switched_on};

const PAGE: &str = "docs/configuration.md";
const HEAD: &str = "# Configuration reference

<!-- Made of ecsbeat.yml by `make docs`. Change that file, not this one. -->

Every key of `ecsbeat.yml`, made of [the sample](../ecsbeat.yml), which shows the same in its place. What you have is
checked by `ecsbeat test config -c ecsbeat.yml`, which tells all that is wrong at once; `ecsbeat export config -c
ecsbeat.yml` prints what came of several files, `-E` and `${…}`.

In the column *default* a value alone is what holds when the key is left out; *e.g.* marks an example, and what holds
then is said beside it. `[]` in a name stands for each entry of a list. More about
[high availability](ha.md), [outputs](outputs.md), [processors](processors.md).
";

/// What becomes of the configuration without a key.
enum Without {
    /// Nothing else: what is shown is the default.
    Same,
    /// Something else.
    Other,
    /// It is refused: the key has to be there.
    Missing,
}

/// The sample with everything switched on, and one line left out. A command of a type that is built in takes over what
/// it does not give: the one that has every key is made one of another type, so that it shows what holds for all.
fn all_but(text: &str, left_out: Option<usize>) -> String {
    let text = text.replacen("#- type: auditevent", "#- type: own", 1);
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let on = switched_on(line).unwrap_or_default();
        if left_out != Some(number) {
            lines.push(on);
        } else if on.trim_start().starts_with("- ") {
            // The entry stays, for what else is in it.
            let column = on.len() - on.trim_start().len();
            lines.push(format!("{}-", " ".repeat(column)));
        }
    }
    lines.join("\n") + "\n"
}

/// What the configuration means, but for what tells how it was written; the error is why it is refused.
fn meaning(text: &str) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ecsbeat.yml");
    fs::write(&file, text).unwrap();
    let sources = Sources {
        files: vec![file],
        ..Sources::default()
    };
    let mut config: Config = load(&sources, &|_| None).map_err(|errors| errors.to_string())?;
    config.redacted_yaml.clear();
    config.hash.clear();
    config.warnings.clear();
    if let Some(ha) = &mut config.ha {
        ha.config_hash.clear();
        ha.identity_hash.clear();
    }
    Ok(format!("{config:?}"))
}

fn without(text: &str, key: &Key, whole: &str) -> Without {
    let name = key.path.rsplit(['.', ']']).next().unwrap_or_default();
    match meaning(&all_but(text, Some(key.line))) {
        Err(why) if why.contains(&format!("{name}: missing: ")) => Without::Missing,
        Ok(same) if same == whole => Without::Same,
        // Refused for another reason, it is one of several that go together.
        Ok(_) | Err(_) => Without::Other,
    }
}

/// What kind of value it is, by the look of it.
fn kind(key: &Key) -> &'static str {
    let value = key.value.as_str();
    let digits = value.trim_start_matches('-');
    let count = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    match (count, &digits[count..]) {
        _ if key.path.ends_with("when") || key.path.ends_with("[].if") => "condition",
        (_, "") if value.is_empty() => {
            if key.list || !key.example.is_empty() {
                "list"
            } else {
                "section"
            }
        }
        (0, _) => match value {
            "true" | "false" => "switch",
            "~" => "nothing",
            _ if value.starts_with('[') => "list",
            _ if value.starts_with('{') => "mapping",
            _ => "text",
        },
        (_, "") if count > 1 && value.starts_with('0') => "file mode",
        (_, "") => "number",
        (_, "ms" | "s" | "m" | "h") => "duration",
        (_, "KB" | "MB" | "GB" | "KiB" | "MiB" | "GiB") => "size",
        _ => "text",
    }
}

/// Prose as Markdown: nothing in it is meant as markup but code between backticks.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut code = false;
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let within_word = before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        before = c;
        match c {
            '`' => code = !code,
            '_' if !code && within_word => {}
            '*' | '_' | '[' | ']' | '$' if !code => out.push('\\'),
            '<' if !code => {
                out.push_str("&lt;");
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Lines of prose as paragraphs, each `true` where it keeps its lines.
fn paragraphs(lines: &[String]) -> Vec<(bool, Vec<String>)> {
    let mut found: Vec<(bool, Vec<String>)> = Vec::new();
    let mut begins = true;
    for line in lines {
        if line.is_empty() {
            begins = true;
            continue;
        }
        let kept = line.starts_with("  ") && !found.last().is_some_and(|(_, last)| last[0].starts_with("- "));
        match found.last_mut() {
            Some((same, last)) if *same == kept && !begins && (kept || !line.starts_with("- ")) => {
                last.push(line.clone());
            }
            _ => found.push((kept, vec![line.clone()])),
        }
        begins = false;
    }
    found
}

/// Prose about a section.
fn body(lines: &[String], page: &mut String) {
    let mut in_list = false;
    for (kept, lines) in paragraphs(lines) {
        let joined = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let entry = joined.starts_with("- ");
        if !(entry && in_list) {
            page.push('\n');
        }
        in_list = entry;
        if kept {
            let text: Vec<&str> = lines
                .iter()
                .map(|line| line.get(2..).unwrap_or_default())
                .collect();
            writeln!(page, "```text\n{}\n```", text.join("\n")).unwrap();
        } else {
            for line in wrapped(&escaped(&joined), if entry { "  " } else { "" }) {
                writeln!(page, "{line}").unwrap();
            }
        }
    }
}

/// Text in lines of at most 120 columns.
fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the beginning");
        if !last.trim().is_empty() && last.chars().count() + 1 + word.chars().count() > 120 {
            lines.push(format!("{indent}{word}"));
        } else {
            if !last.trim().is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

/// Prose about a key, in one cell of a table.
fn cell(lines: &[String]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (kept, lines) in paragraphs(lines) {
        if !kept {
            parts.push(lines.join(" "));
            continue;
        }
        // Further lines of an entry are indented further.
        let indent = |line: &str| line.len() - line.trim_start().len();
        let first = indent(&lines[0]);
        for line in &lines {
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            match parts.last_mut() {
                Some(last) if indent(line) > first => *last = format!("{last} {words}"),
                _ => parts.push(words),
            }
        }
    }
    let parts: Vec<String> = parts
        .iter()
        .map(|part| escaped(part).replace('|', "\\|"))
        .collect();
    parts.join("<br>")
}

fn table(text: &str, section: &Section, whole: &str, seen: &mut Vec<String>, page: &mut String) {
    let mut rows = String::new();
    let mut examples = Vec::new();
    let mut carried: Vec<String> = Vec::new();
    // Whether anything is written about the key above.
    let mut said = false;
    for (number, key) in section.keys.iter().enumerate() {
        let parent = key.value.is_empty() && key.example.is_empty();
        // What is said of the first one of a section is said of all of it.
        if parent && (number == 0 || key.prose.is_empty()) {
            continue;
        }
        // Examples show some keys again; what is said there belongs to the first one that is new.
        if seen.contains(&key.path) {
            carried.extend(key.prose.iter().cloned());
            continue;
        }
        seen.push(key.path.clone());
        let code = |text: &str| format!("`{}`", text.replace('|', "\\|"));
        let shown = code(&key.value);
        let default = if key.value.is_empty() {
            String::new()
        } else if key.list {
            // Over several lines in the sample.
            format!("e.g. {shown}")
        } else {
            match without(text, key, whole) {
                Without::Same => shown,
                Without::Other => format!("e.g. {shown}"),
                Without::Missing => format!("required, e.g. {shown}"),
            }
        };
        let mut prose = std::mem::take(&mut carried);
        prose.extend(key.prose.iter().cloned());
        let words = if !prose.is_empty() {
            cell(&prose)
        } else if key.shares && said {
            "as above".to_owned()
        } else {
            String::new()
        };
        said = !words.is_empty();
        writeln!(
            rows,
            "| {} | {} | {default} | {words} |",
            code(&key.path),
            kind(key)
        )
        .unwrap();
        if !key.example.is_empty() {
            examples.push(key);
        }
    }
    if !rows.is_empty() {
        write!(
            page,
            "\n| key | type | default | meaning |\n|---|---|---|---|\n{rows}"
        )
        .unwrap();
    }
    for key in examples {
        let indent = key
            .example
            .iter()
            .map(|line| line.len() - line.trim_start().len())
            .min();
        let lines: Vec<&str> = key
            .example
            .iter()
            .map(|line| &line[indent.unwrap_or(0)..])
            .collect();
        write!(
            page,
            "\nAn example of `{}`:\n\n```yaml fragment\n{}\n```\n",
            key.path,
            lines.join("\n")
        )
        .unwrap();
    }
}

/// The page.
fn made(text: &str) -> String {
    let whole = meaning(&all_but(text, None)).expect("src/config/sample.rs proves that it loads");
    let mut page = HEAD.to_owned();
    let mut seen = Vec::new();
    for section in sample::read(text) {
        if section.level > 0 {
            writeln!(page, "\n{} {}", "#".repeat(section.level), section.title).unwrap();
        } else {
            writeln!(page, "\n## How it is written").unwrap();
        }
        for prose in &section.prose {
            body(prose, &mut page);
        }
        // Said right above the key that the section is about.
        if let Some(first) = section.keys.first().filter(|key| key.value.is_empty()) {
            body(&first.prose, &mut page);
        }
        table(text, &section, &whole, &mut seen, &mut page);
    }
    page
}

static SAMPLE: LazyLock<String> = LazyLock::new(|| fs::read_to_string(root().join("ecsbeat.yml")).unwrap());

/// The page as it must be. Hundreds of configurations are loaded for it.
static MADE: LazyLock<String> = LazyLock::new(|| made(&SAMPLE));

/// With `ECSBEAT_DOCS=write` in the environment the page is written; `make docs` does that.
#[test]
fn the_reference_is_made_of_the_sample() {
    let want = MADE.as_str();
    if std::env::var("ECSBEAT_DOCS").is_ok_and(|wish| wish == "write") {
        fs::write(root().join(PAGE), want).unwrap();
        return;
    }
    let have = fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let differs = have
        .lines()
        .zip(want.lines())
        .find(|(have, want)| have != want)
        .map_or("its length".to_owned(), |(have, want)| {
            format!("\n- {have}\n+ {want}")
        });
    assert!(
        have == want,
        "{PAGE} is not what ecsbeat.yml makes: run `make docs`. The first difference: {differs}"
    );
}

#[test]
fn every_key_of_the_sample_is_in_the_reference() {
    let page = MADE.as_str();
    let mut keys = 0;
    for section in sample::read(&SAMPLE) {
        for key in section.keys.iter().filter(|key| !key.value.is_empty()) {
            keys += 1;
            let row = format!("| `{}` |", key.path);
            let rows = page.lines().filter(|line| line.starts_with(&row)).count();
            assert_eq!(rows, 1, "{row}");
        }
    }
    assert!(keys > 250, "{keys}");
    for line in [
        "| `ecsbeat.max_in_flight` | number | `4` |",
        "| `ecsbeat.customers[].password` | text | required, e.g.",
        "| `ecsbeat.commands[].uri` | text | required, e.g.",
        "| `ecsbeat.commands[].method` | text | `GET` |",
        "| `ecsbeat.commands[].window.overlap` | duration | e.g. `5m` |",
        "| `http.ssl.enabled` | switch | e.g. `false` |",
        "| `output.kafka.headers` | list | e.g.",
        "| `output.kafka.fencing` | text | e.g. `idempotent` |",
        "| `output.kafka.hosts` | list | required, e.g.",
        "| `ha.ttl` | duration | `10s` |",
        "| `output.elasticsearch.indices[].index` | text | required, e.g.",
        "| `logging.files.permissions` | file mode | `0600` |",
        "| `output.redis.timeout` | duration | `5s` |",
    ] {
        assert!(page.contains(line), "{line}");
    }
}
