//! Texts that are compared with files in `tests/data`. `UPDATE_GOLDEN=1` writes them anew.

use std::fs;
use std::path::Path;

/// Compares with `tests/data/<name>.txt`.
#[track_caller]
pub(crate) fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

/// What stderr has beside the lines of progress, which only a slow machine gets.
pub(crate) fn without_progress(stderr: &str, title: &str) -> String {
    let lines = stderr
        .lines()
        .filter(|line| !line.starts_with(&format!("{title}: ")));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The text without what differs from run to run: `replaced`, and in each line what follows one of `cut`.
pub(crate) fn levelled(text: &str, replaced: &[(&str, &str)], cut: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (found, name) in replaced {
        text = text.replace(found, name);
    }
    let line = |line: &str| {
        for (before, name) in cut {
            if let Some(start) = line.find(before) {
                return format!("{}{name}\n", &line[..start + before.len()]);
            }
        }
        format!("{line}\n")
    };
    text.lines().map(line).collect()
}
