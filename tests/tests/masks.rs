//! Composed masks against the reference's, from `tests/oracle/golden_masks.py`.
#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use transformers_modeling::nn::{Mask, MaskFunction};

#[derive(Deserialize)]
struct Table {
    window: usize,
    chunk: usize,
    keys: usize,
    prefix: usize,
    packed: Vec<usize>,
    blocks: Vec<Vec<i64>>,
    paddings: std::collections::HashMap<String, Option<Vec<Vec<u8>>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Case {
    kind: String,
    padding: String,
    past: usize,
    or: bool,
    and: bool,
    packed: bool,
    blocks: bool,
    /// By entry and query: `x` where it sees the key.
    seen: Vec<Vec<String>>,
}

impl Table {
    fn mask(&self, case: &Case) -> Mask {
        let kind = match case.kind.as_str() {
            "causal" => Mask::causal(),
            "sliding" => Mask::causal().with_window(Some(self.window)),
            "chunked" => Mask::causal().with_chunks(Some(self.chunk)),
            "bidirectional" => Mask::bidirectional(),
            // Here the reference does not count the query itself.
            "bidirectional_sliding" => Mask::bidirectional().with_window(Some(self.window + 1)),
            kind => panic!("{kind}"),
        };
        let tokens = self.paddings[&case.padding].as_ref().map(|rows| {
            let row = |row: &Vec<u8>| row.iter().map(|token| *token == 1).collect();
            rows.iter().map(row).collect()
        });
        let mut mask = kind.after(case.past).with_padding(tokens);
        if case.or {
            mask = mask.or(MaskFunction::prefix([self.prefix]));
        }
        if case.and {
            mask = mask.and(MaskFunction::new(|at| {
                at.key % 2 == 0 || at.key == at.query
            }));
        }
        if case.packed {
            let starts = (0..self.keys).filter(|column| self.packed[*column] == 0);
            mask = mask.with_segments(starts.chain([self.keys]).collect());
        }
        if case.blocks {
            let id = |id: &i64| usize::try_from(*id).ok();
            let rows = self.blocks.iter().map(|row| row.iter().map(id).collect());
            mask = mask.or(MaskFunction::blocks(rows.collect()));
        }
        mask
    }
}

#[test]
fn masks_equal_the_reference() {
    let table: Table = serde_json::from_str(include_str!("../golden/masks.json")).unwrap();
    assert!(table.cases.len() > 40);
    for case in &table.cases {
        let mask = table.mask(case);
        for (entry, queries) in case.seen.iter().enumerate() {
            for (query, expect) in queries.iter().enumerate() {
                let sees = |key| match mask.sees(entry, query, key) {
                    true => 'x',
                    false => '.',
                };
                let found: String = (0..table.keys).map(sees).collect();
                let Case {
                    kind,
                    padding,
                    past,
                    or,
                    and,
                    packed,
                    blocks,
                    ..
                } = case;
                assert_eq!(
                    found, *expect,
                    "{kind} {padding} {past} or {or} and {and} packed {packed} blocks {blocks}: {entry}, {query}"
                );
            }
        }
    }
}

#[test]
fn packed_sequences_of_a_batch_see_themselves() {
    let mask = Mask::causal().and(MaskFunction::packed(vec![
        vec![0, 0, 1, 1],
        vec![0, 1, 1, 1],
    ]));
    assert!(mask.sees(0, 3, 2) && !mask.sees(0, 2, 1));
    assert!(mask.sees(1, 2, 1) && !mask.sees(1, 1, 0));
}
