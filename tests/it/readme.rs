//! The YAML in the READMEs is configuration that loads.

use std::fs;
use std::path::Path;

use ecsbeat::config::{Sources, load};

/// The YAML blocks of a Markdown file, without the indentation of the list they stand in.
fn blocks(file: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "```yaml" {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        found.push(
            block
                .iter()
                .map(|line| line.get(indent..).unwrap_or_default().to_owned() + "\n")
                .collect(),
        );
    }
    assert!(!found.is_empty(), "{file} has no YAML");
    found
}

/// Loads the files, one over the other.
fn loads(texts: &[&str]) -> ecsbeat::config::Config {
    let directory = tempfile::tempdir().unwrap();
    let files = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let path = directory.path().join(format!("{number}.yml"));
            fs::write(&path, text).unwrap();
            path
        })
        .collect();
    let sources = Sources {
        files,
        ..Sources::default()
    };
    let environment = |name: &str| {
        ["ECS_PASSWORD", "ES_API_KEY"]
            .contains(&name)
            .then(|| "id:key".to_owned())
    };
    load(&sources, &environment).unwrap_or_else(|errors| panic!("{errors}\n{}", texts.join("---\n")))
}

#[test]
fn what_the_readme_shows_can_be_copied() {
    let blocks = blocks("README.md");
    let [five_minutes, any_api] = blocks.as_slice() else {
        panic!("{} blocks", blocks.len())
    };
    let config = loads(&[five_minutes]);
    assert_eq!(config.ecsbeat.customers[0].vdcs.len(), 2);
    assert_eq!(config.ecsbeat.commands.len(), 13);
    let config = loads(&[five_minutes, any_api]);
    let kinds: Vec<&str> = config
        .ecsbeat
        .commands
        .iter()
        .map(|command| command.kind.as_str())
        .collect();
    assert_eq!(kinds, ["auditevent", "alldisks", "vpools", "hourlyevents"]);
}

#[test]
fn the_simulators_customers_can_be_copied() {
    let block = &blocks("tests/ecs-sim/README.md")[0];
    let indented: String = block.lines().map(|line| format!("  {line}\n")).collect();
    let config = loads(&[&format!("ecsbeat:\n{indented}output.console: {{}}\n")]);
    assert_eq!(config.ecsbeat.customers[0].name, "sim");
}
