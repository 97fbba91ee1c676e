//! Processors that the reference does not have, and literal values of those that it has.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use transformers_generation::{
    Dry, Epsilon, Eta, FrequencyPresencePenalty, LogitsProcessor, MinP, Mirostat,
    PrefixConstrained, Step, TopH, TopK, TopP, Typical, Xtc,
};

/// Of a row with a prompt of `prompt_len` tokens.
fn process(
    processor: &mut dyn LogitsProcessor,
    ids: &[u32],
    prompt_len: usize,
    scores: &[f32],
) -> Vec<f32> {
    let step = Step {
        ids,
        prompt_len,
        prompt: 0,
    };
    let mut scores = scores.to_vec();
    processor.process(&step, &mut scores);
    scores
}

/// Which probabilities a filter leaves.
fn kept(mut filter: impl LogitsProcessor, probs: &[f32]) -> Vec<bool> {
    let scores: Vec<f32> = probs.iter().map(|prob| prob.ln()).collect();
    let after = process(&mut filter, &[0], 1, &scores);
    let kept = after.iter().map(|score| *score > f32::NEG_INFINITY);
    kept.collect()
}

/// Values of the reference's tests.
#[test]
fn filters_leave_what_the_reference_leaves() {
    let keep = |min_tokens_to_keep| min_tokens_to_keep;
    let top_p = |p| TopP {
        p,
        min_tokens_to_keep: keep(1),
    };
    let no = false;
    let yes = true;
    assert_eq!(kept(top_p(0.8), &[0.3, 0.1, 0.1, 0.5]), [yes, no, no, yes]);
    assert_eq!(
        kept(top_p(0.8), &[0.15, 0.3, 0.3, 0.25]),
        [no, yes, yes, yes]
    );
    let min_p = MinP {
        p: 0.05,
        min_tokens_to_keep: keep(1),
    };
    assert_eq!(
        kept(min_p, &[0.9, 0.0274, 0.047, 0.0274]),
        [yes, no, yes, no]
    );
    assert_eq!(kept(min_p, &[0.97, 0.01, 0.01, 0.01]), [yes, no, no, no]);
    let typical = Typical {
        mass: 0.5,
        min_tokens_to_keep: keep(1),
    };
    assert_eq!(kept(typical, &[0.97, 0.01, 0.01, 0.01]), [yes, no, no, no]);
    assert_eq!(kept(typical, &[0.4, 0.2, 0.2, 0.2]), [no, yes, yes, yes]);
    let epsilon = Epsilon {
        epsilon: 0.1,
        min_tokens_to_keep: keep(1),
    };
    assert_eq!(
        kept(epsilon, &[0.87, 0.099, 0.001, 0.03]),
        [yes, no, no, no]
    );
    assert_eq!(kept(epsilon, &[0.4, 0.299, 0.101, 0.2]), [yes; 4]);
    let eta = Eta {
        epsilon: 0.0625,
        min_tokens_to_keep: keep(1),
    };
    assert_eq!(kept(eta, &[0.01, 0.04, 0.9, 0.05]), [no, no, yes, no]);
    assert_eq!(
        kept(TopH(0.3), &[0.97, 0.01, 0.01, 0.01]),
        [yes, no, no, no]
    );
    assert_eq!(kept(TopH(0.7), &[0.4, 0.3, 0.2, 0.1]), [yes, yes, no, no]);
    assert_eq!(kept(TopH(1.0), &[0.25; 4]), [yes; 4]);
    let ramp: Vec<f32> = (0..10).map(|i| (i as f32).exp()).collect();
    let left = kept(TopK(3), &ramp);
    assert_eq!(left, [[no; 7].as_slice(), &[yes; 3]].concat());
}

#[test]
fn generated_tokens_lose_score_by_presence_and_frequency() {
    let mut penalty = FrequencyPresencePenalty {
        frequency: 0.5,
        presence: 1.0,
    };
    // The prompt does not count.
    let scores = process(&mut penalty, &[3, 3, 0, 1, 1], 2, &[4.0; 4]);
    assert_eq!(scores, [2.5, 2.0, 4.0, 4.0]);
}

#[test]
fn dry_grows_with_the_repetition() {
    let mut dry = Dry {
        multiplier: 1.0,
        base: 2.0,
        allowed: 2,
        breakers: HashSet::new(),
    };
    // `1 2 3` was followed by 4, and `3` alone by 5.
    let ids = [1, 2, 3, 4, 3, 5, 1, 2, 3];
    let scores = process(&mut dry, &ids, 0, &[0.0; 6]);
    assert_eq!(scores, [0.0, 0.0, 0.0, 0.0, -2.0, 0.0]);
    dry.breakers.insert(2);
    assert_eq!(process(&mut dry, &ids, 0, &[0.0; 6]), [0.0; 6]);
}

#[test]
fn xtc_leaves_the_least_likely_of_the_top_choices() {
    let xtc = |probability| Xtc {
        probability,
        threshold: 0.15,
        seed: 1,
    };
    let probs = [0.4, 0.1, 0.2, 0.3];
    assert_eq!(kept(xtc(1.0), &probs), [false, true, true, false]);
    assert_eq!(kept(xtc(0.0), &probs), [true; 4]);
    assert_eq!(
        kept(xtc(1.0), &[0.9, 0.05, 0.05, 0.0]),
        [true, true, true, false]
    );
}

#[test]
fn mirostat_keeps_near_its_target() {
    // Surprises of 1, 2, 3, 4, 4 bits.
    let scores = [0.5f32, 0.25, 0.125, 0.0625, 0.0625].map(f32::ln);
    let left = |mirostat: &mut Mirostat, ids: &[u32]| {
        let after = process(mirostat, ids, 1, &scores);
        after.iter().filter(|score| score.is_finite()).count()
    };
    let mut mirostat = Mirostat::new(1.65, 1.0);
    assert_eq!(left(&mut mirostat, &[0]), 3, "up to 3.3 bits");
    // Token 2 had log2(7) = 2.8 bits among those three: 1.16 above the target.
    assert_eq!(left(&mut mirostat, &[0, 2]), 2, "up to 2.1 bits");
    assert_eq!(left(&mut mirostat, &[0, 2, 0]), 3, "0.58 bits: up to 3.2");
    let mut strict = Mirostat::new(0.1, 1.0);
    assert_eq!(left(&mut strict, &[0]), 1, "the likeliest stays");
}

#[test]
fn a_prefix_constrains_by_prompt_and_row() {
    let mut constrained = PrefixConstrained::new(|prompt, ids| {
        assert_eq!((prompt, ids), (0, &[7, 1][..]));
        vec![2, 0]
    });
    let scores = process(&mut constrained, &[7, 1], 1, &[1.0, 2.0, 3.0]);
    assert_eq!(scores, [1.0, f32::NEG_INFINITY, 3.0]);
}
