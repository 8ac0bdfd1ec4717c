//! Command lines as they stand in Markdown: what a shell would run, without running it.
//!
//! Knows as much of a shell's grammar as documentation uses: quotes, comments, line continuations, pipes, lists,
//! redirections, assignments and `$(…)`.

/// A word, or what stands between commands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Between,
    /// `<`, `>`, `2>&1`: the next word is a file.
    Redirect,
}

/// A prompt, and what only leads to a command.
const LEADING: [&str; 13] = [
    "$", "#", "sudo", "exec", "then", "do", "until", "while", "if", "!", "nohup", "{", "(",
];

/// The commands in a text, each as its words; assignments before a command are left out.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut into_file = false;
    for token in tokens(&split_documents(text).0, &mut found) {
        match token {
            Token::Word(_) if std::mem::take(&mut into_file) => {}
            Token::Word(word) if words.is_empty() && assignment(&word) => {}
            Token::Word(word) if words.is_empty() && LEADING.contains(&word.as_str()) => {}
            Token::Word(word) => words.push(word),
            Token::Redirect => into_file = true,
            Token::Between => {
                into_file = false;
                if !words.is_empty() {
                    found.push(std::mem::take(&mut words));
                }
            }
        }
    }
    if !words.is_empty() {
        found.push(words);
    }
    found
}

/// The text without its here-documents, and those.
fn split_documents(text: &str) -> (String, Vec<String>) {
    let (mut kept, mut found) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        kept.push_str(line);
        kept.push('\n');
        if let Some((_, rest)) = line.split_once("<<") {
            let end: String = rest
                .trim_start_matches(['-', '\'', '"'])
                .chars()
                .take_while(|c| c.is_alphanumeric())
                .collect();
            let document: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != end).collect();
            found.push(document.join("\n") + "\n");
        }
    }
    (kept, found)
}

/// The here-documents of a text.
pub(super) fn documents(text: &str) -> Vec<String> {
    split_documents(text).1
}

fn assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    })
}

/// Words and what stands between them; the commands within `$(…)` go to `inner`.
fn tokens(text: &str, inner: &mut Vec<Vec<String>>) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        at += 1;
        match (quote, c) {
            (None, '\\') if next == Some('\n') => at += 1,
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().extend(next);
                at += 1;
            }
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '$') if next == Some('(') => {
                let begin = at + 1;
                let mut depth = 1;
                at = begin;
                while at < chars.len() && depth > 0 {
                    match chars[at] {
                        '(' => depth += 1,
                        ')' => depth -= 1,
                        _ => {}
                    }
                    at += 1;
                }
                let within: String = chars[begin..at.saturating_sub(1)].iter().collect();
                inner.extend(commands(&within));
                word.get_or_insert_default().push_str("$()");
            }
            (None, '#') if word.is_none() => {
                while chars.get(at).is_some_and(|c| *c != '\n') {
                    at += 1;
                }
            }
            (None, ' ' | '\t') => found.extend(word.take().map(Token::Word)),
            (None, '>') if word.as_ref().is_some_and(|word| word.contains('<')) => {
                word.get_or_insert_default().push(c);
            }
            (None, '<' | '>') if next == Some(c) || next != Some('(') && !closes(&chars, at, c) => {
                // A number before it names a file of the process.
                match word.take() {
                    Some(number) if number.chars().all(|c| c.is_ascii_digit()) => {}
                    other => found.extend(other.map(Token::Word)),
                }
                while chars.get(at).is_some_and(|c| matches!(c, '<' | '>' | '&')) {
                    at += 1;
                }
                found.push(Token::Redirect);
            }
            (None, '|' | ';' | '&' | '\n') => {
                // Alternatives of a synopsis, `test config|output`, are one word.
                let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
                if c == '|' && word.is_some() && !blank(next) && next != Some('|') {
                    word.get_or_insert_default().push('|');
                    continue;
                }
                found.extend(word.take().map(Token::Word));
                found.push(Token::Between);
            }
            (None, ')') if word.is_none() => found.push(Token::Between),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word.take().map(Token::Word));
    found
}

/// Whether `<` at this place begins a placeholder such as `<name>`.
fn closes(chars: &[char], at: usize, open: char) -> bool {
    open == '<'
        && chars[at..]
            .iter()
            .take_while(|c| !c.is_whitespace())
            .any(|c| *c == '>')
}

/// What a synopsis stands for: `[x]` is `x`, and `a|b` is each of them in turn.
pub(super) fn alternatives(words: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    for word in words {
        let word = word.trim_matches(['[', ']']).trim_end_matches("]…");
        if word == "…" {
            break;
        }
        let choices: Vec<&str> = word.split('|').collect();
        all = all
            .iter()
            .flat_map(|begun| {
                choices.iter().map(|choice| {
                    let mut words: Vec<String> = begun.clone();
                    words.push((*choice).to_owned());
                    words
                })
            })
            .collect();
    }
    all
}

#[test]
fn commands_are_found_as_a_shell_would() {
    let found = |text: &str| -> Vec<String> { commands(text).iter().map(|words| words.join(" ")).collect() };
    assert_eq!(found("A=1 B=2 x y # z\n# only this\nw"), ["x y", "w"]);
    assert_eq!(
        found("$ a 'b c' \"d\" >e 2>&1 &\nf | g && h; i"),
        ["a b c d", "f", "g", "h", "i"]
    );
    assert_eq!(found("a \\\n  b"), ["a b"]);
    assert_eq!(found("a $(b c | d) e"), ["b c", "d", "a $() e"]);
    assert_eq!(found("cat >x <<'EOF'\na: b\nEOF\nc"), ["cat", "c"]);
    assert_eq!(
        found("ecsbeat test config|output <name>"),
        ["ecsbeat test config|output <name>"]
    );
    assert_eq!(documents("cat >x <<'EOF'\na: b\nEOF\nc"), ["a: b\n"]);
    let words = ["a", "b|c", "[--d]", "…", "e"].map(str::to_owned);
    assert_eq!(alternatives(&words), [["a", "b", "--d"], ["a", "c", "--d"]]);
}
