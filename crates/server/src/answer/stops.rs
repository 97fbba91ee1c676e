//! Texts that end an answer, and are no part of it.

/// Looks for stop strings in a text as it comes, and holds back what may become one.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    strings: Vec<String>,
    held: String,
}

impl Stops {
    pub fn new(strings: Vec<String>) -> Self {
        let held = String::new();
        Self { strings, held }
    }

    /// Takes more text; gives what is certain of it, and the stop string that ended it, if one did.
    pub fn push(&mut self, text: &str) -> (String, Option<String>) {
        self.held.push_str(text);
        let found = self.strings.iter().filter_map(|stop| {
            let at = self.held.find(stop.as_str())?;
            Some((at, std::cmp::Reverse(stop.len()), stop))
        });
        if let Some((at, _, stop)) = found.min() {
            let stop = stop.clone();
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), Some(stop));
        }
        let rest = self.held.split_off(self.held.len() - self.uncertain());
        (std::mem::replace(&mut self.held, rest), None)
    }

    /// What was held back, at the end of the text.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The length of the longest end of the text that a stop string begins with.
    fn uncertain(&self) -> usize {
        let longest = self.strings.iter().map(String::len).max().unwrap_or(0);
        let begin = self.held.len().saturating_sub(longest);
        let ends = (begin..self.held.len()).filter(|at| self.held.is_char_boundary(*at));
        let mut ends = ends.map(|at| &self.held[at..]);
        let may_grow = |end: &&str| self.strings.iter().any(|stop| stop.starts_with(*end));
        ends.find(may_grow).map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stops: &[&str], pieces: &[&str], expected: &str, found: Option<&str>) {
        let mut finder = Stops::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut text = String::new();
        for piece in pieces {
            let (out, stop) = finder.push(piece);
            text += &out;
            if stop.is_some() {
                assert_eq!((text.as_str(), stop.as_deref()), (expected, found));
                return;
            }
        }
        text += &finder.finish();
        assert_eq!((text.as_str(), None), (expected, found));
    }

    #[test]
    fn a_stop_string_is_found_across_pieces() {
        check(&["END"], &["a E", "N", "D b"], "a ", Some("END"));
        check(&["END"], &["a E", "N", "d b"], "a ENd b", None);
        check(&["END"], &["a EN"], "a EN", None);
        check(&["b", "ab"], &["xa", "b"], "x", Some("ab"));
        check(&["é"], &["x", "é"], "x", Some("é"));
        check(&["éa"], &["xé", "b"], "xéb", None);
        check(&[], &["a", "b"], "ab", None);
    }

    #[test]
    fn what_cannot_be_one_is_not_held_back() {
        let mut finder = Stops::new(vec!["\n\n".to_owned()]);
        assert_eq!(finder.push("one\n"), ("one".to_owned(), None));
        assert_eq!(finder.push("two"), ("\ntwo".to_owned(), None));
    }
}
