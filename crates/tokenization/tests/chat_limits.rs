//! Templates that mean harm, or are as large as they may be.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use transformers_tokenization::{ChatMessage, ChatTemplateOptions, Result};

/// Renders one message with this template.
fn render(source: &str) -> Result<String> {
    let options = ChatTemplateOptions {
        template: Some(source.to_owned()),
        ..Default::default()
    };
    common::tokenizer("byte_level").render_chat_template(&[ChatMessage::user("Hi")], &options)
}

/// Each must stop soon, with an error, and without eating memory.
fn is_stopped(source: &str) {
    let name: String = source.chars().take(200).collect();
    let start = Instant::now();
    let result = render(source);
    assert!(
        result.is_err(),
        "{name}: {:?}",
        result.map(|text| text.len())
    );
    let elapsed = start.elapsed();
    println!("{elapsed:?} {name}");
    // Without optimisation, on a machine that does other things too, it takes far longer.
    let limit = if cfg!(debug_assertions) { 20_000 } else { 100 };
    assert!(
        elapsed < Duration::from_millis(limit),
        "{name}: {elapsed:?}"
    );
}

#[test]
fn programs_that_never_end_are_stopped() {
    for source in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% macro m(n) %}{{ m(n) ~ m(n) }}{% endmacro %}{{ m(0) }}",
        "{% macro m(l) %}{{ m([l, l]) }}{% endmacro %}{{ m([1]) }}",
        "{% for x in [[1]] recursive %}{{ loop([[x, x]]) }}{% endfor %}",
        "{{ range(1000000000) }}",
        "{{ range(-9223372036854775807, 9223372036854775807) }}",
        "{{ 'a' * 100000000000 }}",
        "{{ [1] * 100000000000 }}",
        "{% for x in (range(99999) * 1000)[99999000:] %}{% endfor %}",
        "{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}",
        "{{ '%0999999999d' | format(1) }}",
        "{{ '%.999999999f' % 1 }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ 'x' | indent(999999999999) }}",
        "{{ 'x'.rjust(999999999999) }}",
        "{{ [1] | batch(99999999999, 0) | list }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{% set x = range(90000) | list %}{% for i in x %}{{ x | unique | length }}{{ x | sort }}{{ x[1:] }}{% endfor %}",
        "{% set x = 'é' * 1500000 %}{% for i in range(90000) %}{{ x | length }}{{ x[9] }}{{ 'b' in x }}{% endfor %}",
        "{% for i in range(99999) %}{{ messages | tojson }}{% endfor %}",
    ] {
        is_stopped(source);
    }
}

#[test]
fn values_that_double_are_stopped() {
    let digits = "0123456789".repeat(10);
    for (name, value) in [
        ("x", "ns.x ~ ns.x"),
        ("x", "ns.x + ns.x"),
        ("x", "ns.x * 2"),
        ("x", "ns.x.replace('0', ns.x)"),
        ("x", "ns.x.join(ns.x)"),
        ("x", "ns.x | join(ns.x)"),
        ("x", "ns.x | replace('', ns.x)"),
        ("x", "'%s%s' | format(ns.x, ns.x)"),
        ("x", "'{}{}'.format(ns.x, ns.x)"),
        ("x", "ns.x.center(2 * ns.x | length)"),
        ("x", "ns.x | tojson"),
        ("x", "[ns.x] | string"),
        ("l", "ns.l + ns.l"),
        ("l", "ns.l * 2"),
        ("l", "(ns.l + ns.l)[1:]"),
        ("l", "[ns.l, ns.l] | sum(start=[])"),
        ("l", "[ns.l, ns.l]"),
        ("l", "(ns.l, ns.l)"),
        ("l", "{'a': ns.l, 'b': ns.l}"),
        ("l", "dict(a=ns.l, b=ns.l)"),
        ("l", "ns.l | batch(1) | list"),
        ("l", "[ns.l]"),
    ] {
        is_stopped(&format!(
            "{{% set ns = namespace(x='{digits}', l=[1, 2]) %}}{{% for i in range(99999) %}}{{% set ns.{name} = {value} %}}\
             {{% endfor %}}"
        ));
    }
}

#[test]
fn small_values_that_are_long_to_walk_are_stopped() {
    let nested = "{% set a0 = [1] %}{% set b0 = [1] %}".to_owned()
        + &(0..60)
            .map(|i| {
                format!(
                    "{{% set a{j} = [a{i}, a{i}] %}}{{% set b{j} = [b{i}, b{i}] %}}",
                    j = i + 1
                )
            })
            .collect::<String>();
    is_stopped(&nested);
    // Within what checks a value that is kept.
    let nested = "{% macro m(n, a, b) %}{{ m(n + 1, [a, a], [b, b]) if n < 60 else WALK }}{% endmacro %}{{ m(0, [1], [1]) }}";
    for walk in [
        "a",
        "a | tojson",
        "a ~ ''",
        "a | string",
        "a | join",
        "a == b",
        "a < b",
        "a in [b]",
        "{a: 1}",
        "{}[a]",
        "{}.get(a)",
        "[a, b] | sort | length",
        "[a, b] | unique | length",
        "[a] | select('eq', b) | list | length",
        "[a, b] | max | length",
        "[a, b] | groupby(0) | length",
        "'%s' | format(a)",
        "'{}'.format(a)",
        "[a].count(b)",
        "a | e",
        "a is eq b",
        "a is in [b]",
        "a | upper",
        "a | replace('1', '2')",
        "[[a, 1], [b, 1]] | sum(start=[]) | string",
    ] {
        is_stopped(&nested.replace("WALK", &format!("({walk})")));
    }
}

#[test]
fn no_value_holds_itself() {
    for source in [
        "{% set ns = namespace(l=1) %}{% set ns.l = ns %}{{ ns }}",
        "{% set ns = namespace(l=1) %}{% set ns.l = [{'a': ns}] %}{{ ns }}",
        "{% set ns = namespace(l=1) %}{% set other = (ns, 1) %}{% set ns.l = other %}{{ ns.l }}",
        "{% set ns = namespace(l=1) %}{% for x in [1] %}{% set ns.l = loop %}{% endfor %}",
        "{% for x in [1, 2] %}{{ loop.changed([loop]) }}{% endfor %}",
    ] {
        is_stopped(source);
    }
    assert_eq!(
        render("{% set a = namespace(b=namespace(c=1)) %}{% set a.d = a.b.c %}{{ a }}").unwrap(),
        "{'b': {'c': 1}, 'd': 1}"
    );
}

#[test]
fn long_and_deep_templates_do_no_harm() {
    let around = |before: &str, inner: &str, after: &str| {
        let times = 250_000 / (before.len() + after.len());
        format!(
            "{{{{ {}{inner}{} }}}}",
            before.repeat(times),
            after.repeat(times)
        )
    };
    for (before, after) in [
        ("", ".a"),
        ("", "[0]"),
        ("", "()"),
        ("", "|upper"),
        ("", " is none"),
        ("", " if x else x"),
        ("", "+1"),
        ("", " ~ 1"),
        ("", "*1"),
        ("", " and 1"),
        ("", " == 1"),
        ("", "[1:]"),
        ("-", ""),
        ("not ", ""),
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
    ] {
        is_stopped(&around(before, "x", after));
    }
    for tag in [
        "{% if 1 %}",
        "{% for x in [1] %}",
        "{% macro m() %}",
        "{% set x %}",
        "{% with x = 1 %}",
        "{% call m() %}",
        "{% filter upper %}",
        "{% generation %}",
        "{% raw %}",
        "{{",
        "{#",
        "{% set x = [x] %}",
    ] {
        is_stopped(&tag.repeat(250_000 / tag.len()));
    }
    // As long as may be, and as deep: the process has to survive.
    for (suffix, times) in [
        (" and 1", 1_400),
        (".a", 1_400),
        ("|upper", 1_400),
        (" if x else x", 700),
    ] {
        let _ = render(&format!("{{{{ x{} }}}}", suffix.repeat(times)));
    }
    let branches = format!(
        "{{% if 0 %}}{}x{{% endif %}}",
        "{% elif 0 %}".repeat(20_000)
    );
    assert_eq!(render(&branches).unwrap(), "");
    let error = render(&"x".repeat(1 << 20)).unwrap_err().to_string();
    assert!(error.contains("longer than 256 KiB"), "{error}");
}

/// What operators become has names, which a template may use as well.
#[test]
fn names_behind_operators_do_no_harm() {
    for source in [
        "{{ 'x'._op_slice() }}",
        "{{ 'x'._op_slice('a', [], {}) }}",
        "{{ [1]._op_slice(1, 2, 3, 4) }}",
        "{{ _op_compare() }}{{ _op_sum() }}{{ _op_product() }}{{ _op_power() }}{{ _op_text() }}",
        "{{ _op_sum(1, 2) }}{{ _op_sum([1], [], [2]) }}{{ _op_compare(1, 'x', 2) }}",
        "{{ _op_paid() }}",
        "{{ _op_kept(1, 2) }}",
        "{% set _op_sum = 1 %}{{ messages + messages }}",
        "{% macro _op_compare() %}{% endmacro %}{{ messages == messages }}",
    ] {
        // An error or a text.
        if let Err(error) = render(source) {
            assert!(!error.to_string().contains("panicked"), "{source}: {error}");
        }
    }
}
