//! Texts that are shown up to a length.
//!
//! Owns where they end: never amid a character.

/// The beginning of a text, at most so many bytes of it.
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_text_ends_between_characters() {
        for (most, want) in [(0, ""), (1, ""), (2, "ä"), (3, "äb"), (4, "äbc"), (99, "äbc")] {
            assert_eq!(cut("äbc", most), want, "{most}");
        }
    }
}
