//! Markdown as it comes, made readable for a terminal: marks become styles, and no text waits for its end.

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const ITALIC: &str = "\x1b[3m";
const CODE: &str = "\x1b[36m";

/// Turns pieces of an answer into what is printed.
#[derive(Debug, Default)]
pub struct Renderer {
    styled: bool,
    /// Marks that may go on: they are held back until it is known.
    held: String,
    line_start: bool,
    bold: bool,
    italic: bool,
    heading: bool,
    code: bool,
    /// Within a block of code; the line of its fence is dim.
    block: bool,
    fence_line: bool,
    reasoning: bool,
}

impl Renderer {
    /// Without styles, text stays as it is.
    pub fn new(styled: bool) -> Self {
        Self {
            styled,
            line_start: true,
            ..Self::default()
        }
    }

    /// More of what comes before the answer proper.
    pub fn reasoning(&mut self, text: &str) -> String {
        let begins = !std::mem::replace(&mut self.reasoning, true);
        match (self.styled, begins) {
            (true, true) => format!("{DIM}{text}"),
            _ => text.to_owned(),
        }
    }

    /// More of the answer.
    pub fn content(&mut self, text: &str) -> String {
        let mut out = String::new();
        if std::mem::take(&mut self.reasoning) {
            out += if self.styled { RESET } else { "" };
            out += "\n\n";
        }
        if !self.styled {
            return out + text;
        }
        for character in text.chars() {
            self.character(character, &mut out);
        }
        out
    }

    /// What was held back, and the end of all styles.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        self.flush(&mut out);
        if self.styled {
            out += RESET;
        }
        let styled = self.styled;
        *self = Self::new(styled);
        out
    }

    fn character(&mut self, character: char, out: &mut String) {
        let is_mark = match character {
            '*' => !self.block && !self.code,
            '`' => true,
            '#' => self.line_start && !self.block,
            _ => false,
        };
        let same = self
            .held
            .chars()
            .next()
            .is_none_or(|held| held == character);
        if is_mark && same && self.held.len() < 8 {
            self.held.push(character);
            return;
        }
        self.flush_before(character, out);
        if is_mark {
            self.held.push(character);
            return;
        }
        out.push(character);
        self.line_start = character == '\n';
        if character == '\n' {
            self.end_of_line(out);
        }
    }

    fn flush(&mut self, out: &mut String) {
        self.flush_before('\n', out);
    }

    /// What the held marks mean, now that `next` follows them.
    fn flush_before(&mut self, next: char, out: &mut String) {
        let held = std::mem::take(&mut self.held);
        match held.as_str() {
            "" => {}
            "```" if self.line_start => {
                self.block = !self.block;
                self.fence_line = true;
                self.restyle(out);
                *out += "```";
            }
            "`" if !self.block => {
                self.code = !self.code;
                self.restyle(out);
            }
            "**" if !self.block => {
                self.bold = !self.bold;
                self.restyle(out);
            }
            // A list's star stands before a space.
            "*" if self.italic || !next.is_whitespace() => {
                self.italic = !self.italic;
                self.restyle(out);
            }
            marks if marks.starts_with('#') && next == ' ' => {
                self.heading = true;
                self.restyle(out);
                *out += marks;
            }
            marks => *out += marks,
        }
        if !held.is_empty() {
            self.line_start = false;
        }
    }

    fn end_of_line(&mut self, out: &mut String) {
        if std::mem::take(&mut self.heading) | std::mem::take(&mut self.fence_line) {
            self.restyle(out);
        }
    }

    /// The styles that apply now.
    fn restyle(&self, out: &mut String) {
        *out += RESET;
        for (applies, style) in [
            (self.fence_line, DIM),
            (self.block && !self.fence_line, CODE),
            (self.code, CODE),
            (self.bold || self.heading, BOLD),
            (self.italic, ITALIC),
        ] {
            if applies {
                *out += style;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Styles as letters, so that one can read them.
    fn shown(text: &str) -> String {
        let names = [
            (RESET, "{}"),
            (BOLD, "{b}"),
            (DIM, "{d}"),
            (ITALIC, "{i}"),
            (CODE, "{c}"),
        ];
        names.iter().fold(text.to_owned(), |text, (style, name)| {
            text.replace(style, name)
        })
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut renderer = Renderer::new(true);
        let whole = renderer.content(text) + &renderer.finish();
        assert_eq!(shown(&whole), expected);
        // However it is cut.
        let mut pieces: String = text
            .chars()
            .map(|c| renderer.content(&c.to_string()))
            .collect();
        pieces += &renderer.finish();
        assert_eq!(pieces, whole);
    }

    #[test]
    fn marks_become_styles() {
        check("a **b** c", "a {}{b}b{} c{}");
        check("an *i* and `x*y`", "an {}{i}i{} and {}{c}x*y{}{}");
        check("# Title\ntext", "{}{b}# Title\n{}text{}");
        check("* one\n* two 2 * 3", "* one\n* two 2 * 3{}");
        check(
            "```rust\na *b*\n```\nc",
            "{}{d}```rust\n{}{c}a *b*\n{}{d}```\n{}c{}",
        );
        check("C# and #1", "C# and #1{}");
    }

    #[test]
    fn without_styles_text_stays() {
        let mut renderer = Renderer::new(false);
        assert_eq!(renderer.content("**b**"), "**b**");
        assert_eq!(renderer.finish(), "");
    }

    #[test]
    fn reasoning_is_dim() {
        let mut renderer = Renderer::new(true);
        let text = renderer.reasoning("h") + &renderer.reasoning("m") + &renderer.content("x");
        assert_eq!(shown(&text), "{d}hm{}\n\nx");
    }
}
