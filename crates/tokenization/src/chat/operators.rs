//! Operators as calls.
//!
//! The template engine's own operators on lists put off their work and do it unpaid, so that a list that is added to
//! itself a few times takes all memory, and compare and write out values that hold each other for as long as it takes. So
//! a template is rewritten before it runs: `a + b - c` becomes `_op_sum(a,'+',b,'-',c)`, `a[1:]` becomes
//! `a._op_slice(1,none,none)`, and so on, by Jinja's precedence. What is called is paid for (see `arithmetic`). Nothing
//! else changes, and lines stay where they are.

use super::tags::{Tag, Word, tags};

/// Expressions nest no deeper: the template engine allows little more.
const MAX_DEPTH: usize = 70;

/// The longest tag, in words; what the engine does with a chain of operators takes quadratic time.
const MAX_WORDS: usize = 3_000;

/// What is called in place of operators.
pub(super) mod names {
    pub const COMPARE: &str = "_op_compare";
    pub const SUM: &str = "_op_sum";
    pub const PRODUCT: &str = "_op_product";
    pub const POWER: &str = "_op_power";
    pub const TEXT: &str = "_op_text";
    pub const SLICE: &str = "_op_slice";
    /// Checks what a loop is about to go through.
    pub const ITEMS: &str = "_op_items";
    /// Pays for a value that is about to be hashed, or to become part of others.
    pub const PAID: &str = "_op_paid";
    /// Pays for a value that is about to be kept in a namespace, and refuses what may come to hold itself.
    pub const KEPT: &str = "_op_kept";
}

/// Why a template was not rewritten.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refused {
    /// Not Jinja, or what no chat template does: the word and its line.
    Syntax(String, usize),
    /// A tag or a comment does not end, or holds what is no word.
    Tag,
    /// Too long an expression, on this line.
    Length(usize),
}

/// Rewrites a template. `generation` is what stands for `{% generation %}` and for its end.
pub(super) fn rewrite(template: &str, generation: [&str; 2]) -> Result<String, Refused> {
    let line = |at: usize| template[..at].matches('\n').count() + 1;
    let found = tags(template).ok_or(Refused::Tag)?;
    let mut out = String::with_capacity(template.len() + template.len() / 4);
    let mut copied = 0;
    for tag in &found {
        let Some(first) = tag.words.first() else {
            continue;
        };
        if tag.words.len() > MAX_WORDS {
            return Err(Refused::Length(line(first.start)));
        }
        let mut rewriter = Rewriter::new(tag, generation);
        if rewriter.tag().is_none() {
            let word = tag.words.get(rewriter.at).unwrap_or(first);
            return Err(Refused::Syntax(word.text.to_owned(), line(word.start)));
        }
        for (word, edit) in tag.words.iter().zip(&rewriter.edits) {
            out.push_str(&template[copied..word.start]);
            edit.before.iter().rev().for_each(|text| out.push_str(text));
            out.push_str(edit.instead.as_deref().unwrap_or(word.text));
            edit.after.iter().for_each(|text| out.push_str(text));
            copied = word.end();
        }
    }
    out.push_str(&template[copied..]);
    Ok(out)
}

/// What is written around a word. Of two expressions that begin with the same word the outer one is written later and
/// begins earlier.
#[derive(Default)]
struct Edit {
    before: Vec<String>,
    instead: Option<String>,
    after: Vec<&'static str>,
}

struct Rewriter<'a> {
    words: &'a [Word<'a>],
    is_block: bool,
    generation: [&'a str; 2],
    edits: Vec<Edit>,
    at: usize,
    depth: usize,
    /// Whether something may have made a list or a dictionary.
    makes: bool,
    /// From where to where the last expression goes that is a text, a number or the like, so that there is nothing to pay.
    plain: (usize, usize),
}

/// What an operand is, as far as its words show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    Text,
    Number,
    /// `true`, `false` or `none`.
    Name,
    Other,
}

/// A rewriter goes on, or the template is not one.
type Step = Option<()>;

impl<'a> Rewriter<'a> {
    fn new(tag: &'a Tag<'a>, generation: [&'a str; 2]) -> Self {
        Self {
            words: &tag.words,
            is_block: tag.is_block,
            generation,
            edits: tag.words.iter().map(|_| Edit::default()).collect(),
            at: 0,
            depth: 0,
            makes: false,
            plain: (0, 0),
        }
    }

    fn word(&self) -> &'a str {
        self.words.get(self.at).map_or("", |word| word.text)
    }

    fn is_name(&self) -> bool {
        self.words.get(self.at).is_some_and(|word| word.is_name)
    }

    fn skip(&mut self, text: &str) -> bool {
        let found = self.word() == text;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, text: &str) -> Step {
        self.skip(text).then_some(())
    }

    fn name(&mut self) -> Step {
        let found = self.is_name();
        self.at += 1;
        found.then_some(())
    }

    /// Writes a call around the words from `start` to the last one read.
    fn call(&mut self, start: usize, function: &str) {
        self.edits[start].before.push(format!("{function}("));
        self.edits[self.at - 1].after.push(")");
    }

    fn tag(&mut self) -> Step {
        if self.is_block {
            self.statement()?;
        } else {
            self.tuple()?;
        }
        (self.at == self.words.len()).then_some(())
    }

    fn statement(&mut self) -> Step {
        let keyword = self.word();
        self.name()?;
        match keyword {
            "if" | "elif" | "do" => self.expression(),
            "for" => self.for_loop(),
            "set" => self.set(),
            "macro" => {
                self.name()?;
                self.parameters()
            }
            "call" => {
                if self.word() == "(" {
                    self.parameters()?;
                }
                self.expression()
            }
            "filter" => self.filter(),
            "with" => self.with(),
            "generation" | "endgeneration" => {
                let index = usize::from(keyword == "endgeneration");
                self.edits[0].instead = Some(self.generation[index].to_owned());
                Some(())
            }
            "endmacro" => {
                self.at += usize::from(self.is_name());
                Some(())
            }
            "else" | "break" | "continue" | "endif" | "endfor" | "endset" | "endcall"
            | "endfilter" | "endwith" => Some(()),
            _ => {
                self.at = 0; // where the trouble is
                None
            }
        }
    }

    fn for_loop(&mut self) -> Step {
        while !self.skip("in") {
            (self.is_name() || matches!(self.word(), "," | "(" | ")")).then_some(())?;
            self.at += 1;
        }
        let start = self.at;
        self.or()?;
        self.call(start, names::ITEMS);
        if self.skip("if") {
            self.expression()?;
        }
        self.skip("recursive");
        Some(())
    }

    /// A value that is kept: checked where it could hold its own keeper, or make others nest ever deeper.
    fn set(&mut self) -> Step {
        let mut is_attribute = false;
        while !matches!(self.word(), "=" | "|" | "") {
            is_attribute |= self.word() == ".";
            (self.is_name() || matches!(self.word(), "," | "(" | ")" | ".")).then_some(())?;
            self.at += 1;
        }
        if self.skip("|") {
            return self.filter();
        }
        if !self.skip("=") {
            return Some(());
        }
        let start = self.at;
        self.makes = false;
        let is_tuple = self.tuple()?;
        if is_tuple {
            self.makes = true;
            self.edits[start].before.push("(".to_owned());
            self.edits[self.at - 1].after.push(")");
        }
        if self.plain == (start, self.at) {
            return Some(());
        }
        if is_attribute {
            self.call(start, names::KEPT);
        } else if self.makes {
            self.call(start, names::PAID);
        }
        Some(())
    }

    fn with(&mut self) -> Step {
        while self.at < self.words.len() {
            while !self.skip("=") {
                (self.is_name() || matches!(self.word(), "," | "(" | ")")).then_some(())?;
                self.at += 1;
            }
            self.expression()?;
            if !self.skip(",") {
                break;
            }
        }
        Some(())
    }

    fn parameters(&mut self) -> Step {
        self.expect("(")?;
        while !self.skip(")") {
            self.name()?;
            if self.skip("=") {
                self.expression()?;
            }
            if !self.skip(",") {
                return self.expect(")");
            }
        }
        Some(())
    }

    /// One expression or several, with commas between; whether there is a comma.
    fn tuple(&mut self) -> Option<bool> {
        self.expression()?;
        let mut is_tuple = false;
        while self.skip(",") {
            is_tuple = true;
            if self.at == self.words.len() {
                break;
            }
            self.expression()?;
        }
        Some(is_tuple)
    }

    fn expression(&mut self) -> Step {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.or()?;
        while self.skip("if") {
            self.or()?;
            if self.skip("else") {
                self.or()?;
            }
        }
        self.depth -= 1;
        Some(())
    }

    /// `and`, `or` and `not` need no order here: none of them is rewritten.
    fn or(&mut self) -> Step {
        loop {
            while self.skip("not") {}
            self.compare()?;
            if !(self.skip("and") || self.skip("or")) {
                return Some(());
            }
        }
    }

    fn compare(&mut self) -> Step {
        let start = self.at;
        let mut operands = vec![self.operand(Self::sum)?];
        let mut signs = Vec::new();
        loop {
            let sign = match self.word() {
                sign @ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") => sign,
                "not"
                    if self
                        .words
                        .get(self.at + 1)
                        .is_some_and(|next| next.text == "in") =>
                {
                    self.at += 1;
                    "not in"
                }
                _ => break,
            };
            signs.push((self.at, sign));
            self.at += 1;
            operands.push(self.operand(Self::sum)?);
        }
        // A literal is compared at once, whatever with.
        let is_cheap = match (signs.as_slice(), operands.as_slice()) {
            ([(_, "==" | "!=")], [left, right]) => {
                *left != Operand::Other || *right != Operand::Other
            }
            ([(_, "in" | "not in")], [left, _]) => *left == Operand::Text,
            _ => false,
        };
        if is_cheap {
            self.plain = (start, self.at);
        } else {
            self.rewrite_chain(start, &signs, names::COMPARE);
        }
        Some(())
    }

    /// Reads an operand.
    fn operand(&mut self, read: fn(&mut Self) -> Step) -> Option<Operand> {
        let start = self.at;
        read(self)?;
        let word = &self.words[start];
        let is_negative =
            self.at == start + 2 && word.text == "-" && self.words[start + 1].is_literal();
        let operand = match self.at - start {
            1 if word.text.starts_with(['"', '\'']) => Operand::Text,
            1 if word.is_literal() => Operand::Number,
            1 if ["true", "false", "none", "True", "False", "None"].contains(&word.text) => {
                Operand::Name
            }
            _ if is_negative => Operand::Number,
            _ => Operand::Other,
        };
        if operand != Operand::Other {
            self.plain = (start, self.at);
        }
        Some(operand)
    }

    /// Makes a call of the operands since `start` and the signs between them.
    fn rewrite_chain(&mut self, start: usize, signs: &[(usize, &str)], function: &str) {
        if signs.is_empty() {
            return;
        }
        for (at, sign) in signs {
            if *sign == "not in" {
                self.edits[at - 1].instead = Some(String::new());
            }
            self.edits[*at].instead = Some(format!(",'{sign}',"));
        }
        self.call(start, function);
    }

    /// Operands with signs of one rank between them. `is_cheap` says of the first sign and the first two operands whether
    /// the engine's own operators pay for what they do.
    fn chain(
        &mut self,
        known: &[&str],
        function: &str,
        read: fn(&mut Self) -> Step,
        is_cheap: fn(&str, Operand, Operand) -> bool,
    ) -> Step {
        let start = self.at;
        let first = self.operand(read)?;
        let mut second = Operand::Other;
        let mut signs = Vec::new();
        while known.contains(&self.word()) {
            signs.push((self.at, self.word()));
            self.at += 1;
            let operand = self.operand(read)?;
            if signs.len() == 1 {
                second = operand;
            }
        }
        match signs.first() {
            Some((_, sign)) if is_cheap(sign, first, second) => self.plain = (start, self.at),
            _ => self.rewrite_chain(start, &signs, function),
        }
        Some(())
    }

    /// A sum with a text or a number is a text or a number, and so is what is added to it: no list.
    fn sum(&mut self) -> Step {
        let is_cheap = |_: &str, first, second| first != Operand::Other || second != Operand::Other;
        self.chain(&["+", "-"], names::SUM, Self::text, is_cheap)
    }

    fn text(&mut self) -> Step {
        self.chain(&["~"], names::TEXT, Self::product, |_, _, _| false)
    }

    fn product(&mut self) -> Step {
        self.chain(
            &["*", "/", "//", "%"],
            names::PRODUCT,
            Self::power,
            |_, _, _| false,
        )
    }

    fn power(&mut self) -> Step {
        self.chain(&["**"], names::POWER, Self::unary, |_, _, _| false)
    }

    fn unary(&mut self) -> Step {
        let signed = self.word();
        while self.skip("-") || self.skip("+") {}
        if signed == "+" {
            return None; // the engine knows no such sign, and nobody uses it
        }
        self.primary()?;
        self.postfix()?;
        loop {
            if self.skip("|") {
                self.filter()?;
            } else if self.skip("is") {
                self.test()?;
            } else {
                return Some(());
            }
        }
    }

    /// Names of filters and their arguments.
    fn filter(&mut self) -> Step {
        self.makes = true;
        loop {
            self.name()?;
            if self.word() == "(" {
                self.arguments(false)?;
            }
            if !self.skip("|") {
                return Some(());
            }
        }
    }

    fn test(&mut self) -> Step {
        self.skip("not");
        self.name()?;
        if self.word() == "(" {
            return self.arguments(false);
        }
        let ends = matches!(
            self.word(),
            "and" | "or" | "else" | "is" | "if" | "in" | "not" | "recursive" | ""
        );
        let word = self.words.get(self.at);
        if !ends
            && word.is_some_and(|word| {
                word.is_name || word.is_literal() || matches!(word.text, "[" | "{")
            })
        {
            self.primary()?;
            self.postfix()?;
        }
        Some(())
    }

    fn primary(&mut self) -> Step {
        let word = self.words.get(self.at)?;
        self.at += 1;
        match word.text {
            "(" => {
                if !self.skip(")") {
                    self.list(")")?;
                }
            }
            "[" => {
                self.makes = true;
                self.list("]")?;
            }
            "{" => {
                self.makes = true;
                self.dictionary()?;
            }
            _ if word.is_name => {}
            _ if word.is_literal() => {
                // Texts that follow each other are one.
                while word.text.starts_with(['"', '\'']) && self.word().starts_with(['"', '\'']) {
                    self.at += 1;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn list(&mut self, closing: &str) -> Step {
        while !self.skip(closing) {
            self.expression()?;
            self.makes |= self.word() == ",";
            if !self.skip(",") {
                return self.expect(closing);
            }
        }
        Some(())
    }

    fn dictionary(&mut self) -> Step {
        while !self.skip("}") {
            self.key(":")?;
            self.expect(":")?;
            self.expression()?;
            if !self.skip(",") {
                return self.expect("}");
            }
        }
        Some(())
    }

    /// An expression that becomes a key, which is hashed.
    fn key(&mut self, closing: &str) -> Step {
        let start = self.at;
        self.expression()?;
        if self.plain != (start, self.at) && self.word() == closing {
            self.call(start, names::PAID);
        }
        Some(())
    }

    fn postfix(&mut self) -> Step {
        loop {
            match self.word() {
                "." => {
                    self.at += 1;
                    let is_number = self.words.get(self.at).is_some_and(Word::is_literal);
                    let compares = self.word() == "changed";
                    (self.is_name() || is_number).then_some(())?;
                    self.at += 1;
                    if compares && self.word() == "(" {
                        self.arguments(true)?;
                    }
                }
                "[" => self.subscript()?,
                "(" => self.arguments(false)?,
                _ => return Some(()),
            }
        }
    }

    fn arguments(&mut self, are_kept: bool) -> Step {
        self.expect("(")?;
        self.makes = true;
        while !self.skip(")") {
            let _ = self.skip("**") || self.skip("*");
            if self.is_name()
                && self
                    .words
                    .get(self.at + 1)
                    .is_some_and(|next| next.text == "=")
            {
                self.at += 2;
            }
            let start = self.at;
            self.expression()?;
            if are_kept {
                self.call(start, names::KEPT);
            }
            if !self.skip(",") {
                return self.expect(")");
            }
        }
        Some(())
    }

    fn subscript(&mut self) -> Step {
        let open = self.at;
        self.at += 1;
        if self.word() != ":" {
            self.key("]")?;
            if self.skip("]") {
                return Some(());
            }
        } else {
            self.edits[open].after.push("none");
        }
        self.edits[open].instead = Some(format!(".{}(", names::SLICE));
        let mut colons = 0;
        while self.word() == ":" && colons < 2 {
            self.edits[self.at].instead = Some(",".to_owned());
            let colon = self.at;
            self.at += 1;
            colons += 1;
            if matches!(self.word(), ":" | "]") {
                self.edits[colon].after.push("none");
            } else {
                self.expression()?;
            }
        }
        self.expect("]")?;
        self.edits[self.at - 1].instead = Some(if colons == 1 { ",none)" } else { ")" }.to_owned());
        (colons > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(template: &str, expect: &str) {
        let found = rewrite(template, ["with", "endwith"]);
        assert_eq!(found.as_deref(), Ok(expect), "{template}");
    }

    #[test]
    fn operators_become_calls_by_their_rank() {
        check("{{ a + b - c }}", "{{ _op_sum(a ,'+', b ,'-', c) }}");
        check(
            "{{ a ~ b + c * d }}",
            "{{ _op_sum(_op_text(a ,'~', b) ,'+', _op_product(c ,'*', d)) }}",
        );
        check(
            "{{ (a + b) * -c ** 2 }}",
            "{{ _op_product((_op_sum(a ,'+', b)) ,'*', _op_power(-c ,'**', 2)) }}",
        );
        check(
            "{% if not a == b and c not in d %}",
            "{% if not _op_compare(a ,'==', b) and _op_compare(c  ,'not in', d) %}",
        );
        check(
            "{{ a < b <= c if d != e else f > g }}",
            "{{ _op_compare(a ,'<', b ,'<=', c) if _op_compare(d ,'!=', e) else _op_compare(f ,'>', g) }}",
        );
        check(
            "{{ x | f(a + e) is g(b ~ c) + d }}",
            "{{ _op_sum(x | f(_op_sum(a ,'+', e)) is g(_op_text(b ,'~', c)) ,'+', d) }}",
        );
        check(
            "{{ 'a' + b + c == 1 + d }}",
            "{{ _op_compare('a' + b + c ,'==', 1 + d) }}",
        );
        check(
            "{{ a == 'b' and 'c' in d and e != none }}",
            "{{ a == 'b' and 'c' in d and e != none }}",
        );
        check("{{ a + b + 'c' }}", "{{ _op_sum(a ,'+', b ,'+', 'c') }}");
        check(
            "{{ '+' ~ \"a ~ b\" }}",
            "{{ _op_text('+' ,'~', \"a ~ b\") }}",
        );
    }

    #[test]
    fn slices_become_calls_and_keys_are_paid() {
        check("{{ a[1:] }}", "{{ a._op_slice(1,none,none) }}");
        check(
            "{{ a[::-1][:b] }}",
            "{{ a._op_slice(none,none,-1)._op_slice(none,b,none) }}",
        );
        check(
            "{{ a[b + c]['c'][0].d }}",
            "{{ a[_op_paid(_op_sum(b ,'+', c))]['c'][0].d }}",
        );
        check("{{ a[b - 1][-1][1 + b] }}", "{{ a[b - 1][-1][1 + b] }}");
        check(
            "{% set n.x = 'a' + b %}{% set n.y = (a, 1)[0] %}",
            "{% set n.x = 'a' + b %}{% set n.y = _op_kept((a, 1)[0]) %}",
        );
        check("{{ {a: 1, 'b': c} }}", "{{ {_op_paid(a): 1, 'b': c} }}");
    }

    #[test]
    fn statements_keep_their_form() {
        check(
            "{%- for a, b in c + d if a in b recursive -%}",
            "{%- for a, b in _op_items(_op_sum(c ,'+', d)) if _op_compare(a ,'in', b) recursive -%}",
        );
        check(
            "{% set n.x = [a] %}{% set y = [a] %}",
            "{% set n.x = _op_kept([a]) %}{% set y = _op_paid([a]) %}",
        );
        check(
            "{% set a, b = 1, c + d %}",
            "{% set a, b = _op_paid((1, _op_sum(c ,'+', d))) %}",
        );
        check(
            "{% macro m(a, b=c + d) %}{% endmacro m %}",
            "{% macro m(a, b=_op_sum(c ,'+', d)) %}{% endmacro m %}",
        );
        check(
            "{% call(x) m(y ~ z) %}{% endcall %}",
            "{% call(x) m(_op_text(y ,'~', z)) %}{% endcall %}",
        );
        check(
            "{% with a = b * 2, c = 1 %}",
            "{% with a = _op_product(b ,'*', 2), c = 1 %}",
        );
        check(
            "{% generation %}{%- endgeneration -%}",
            "{% with %}{%- endwith -%}",
        );
        check(
            "{% raw %}{{ a + b }}{% endraw %}{# a + b #} a + b",
            "{% raw %}{{ a + b }}{% endraw %}{# a + b #} a + b",
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |template: &str| rewrite(template, ["", ""]).unwrap_err();
        assert_eq!(
            refused("\n{% include 'x' %}"),
            Refused::Syntax("include".to_owned(), 2)
        );
        assert_eq!(refused("{{ a b }}"), Refused::Syntax("b".to_owned(), 1));
        assert_eq!(refused("{{ a"), Refused::Tag);
        assert_eq!(
            refused(&format!("{{{{ a{} }}}}", " + 1".repeat(2_000))),
            Refused::Length(1)
        );
    }
}
