// SPDX-License-Identifier: GPL-2.0

//! Text that is safe to show on a terminal.

use std::fmt::{self, Write};

/// Shows text with everything escaped that a terminal would act upon.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

/// Whether a terminal may act upon the character instead of showing it: control characters, and
/// those that change the direction of what follows (Unicode, UAX #9).
pub fn acts_on_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if acts_on_terminal(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_upon_is_escaped() {
        let shown = Printable("a\u{1b}[31mb\r\n\u{9b}é\u{202e}x").to_string();
        assert_eq!(shown, "a\\u{1b}[31mb\\r\\n\\u{9b}é\\u{202e}x");
    }
}
