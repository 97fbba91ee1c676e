//! Processors that the reference does not have, and literal values of those that it has.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use transformers_config::{SeedingScheme, WatermarkingConfig};
use transformers_generation::{
    AlternatingCodebooks, BarkEosPrioritizer, Dry, EncoderRepetitionPenalty, Epsilon, Eta,
    FrequencyPresencePenalty, LogitsProcessor, MinNewTokens, MinP, Mirostat, NoRepeatNGram,
    PrefixConstrained, RepetitionPenalty, Step, SynthIDTextWatermarkDetector, TopH, TopK, TopP,
    Typical, Watermark, WatermarkDetector, WhisperNoSpeechDetection, WhisperTimeStamp, Xtc,
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

/// Processors that no field of a config asks for, and detectors.
#[derive(Deserialize)]
struct Golden {
    others: Vec<Other>,
    detections: Vec<Detection>,
}

#[derive(Deserialize)]
struct Other {
    processor: String,
    arguments: Value,
    prompt_len: usize,
    input_ids: Vec<u32>,
    logits: Vec<Option<f32>>,
    scores: Vec<Option<f32>>,
    no_speech_prob: Option<f32>,
}

#[derive(Deserialize)]
struct Detection {
    config: WatermarkingConfig,
    ignore_repeated_ngrams: bool,
    ids: Vec<u32>,
    num_tokens_scored: usize,
    num_green_tokens: usize,
    z_score: f64,
    p_value: f64,
    prediction: bool,
}

fn golden() -> Golden {
    let golden = include_str!("../../../tests/golden/logits_processors.json");
    serde_json::from_str(golden).unwrap()
}

#[test]
fn other_processors_equal_the_reference() {
    let count = |value: &Value| value.as_u64().unwrap() as usize;
    let golden = golden();
    assert!(golden.others.len() > 20);
    for case in golden.others {
        let arguments = &case.arguments;
        let detection = WhisperNoSpeechDetection::new(5);
        let mut processor: Box<dyn LogitsProcessor> = match case.processor.as_str() {
            "WhisperTimeStamp" => Box::new(WhisperTimeStamp {
                max_initial_timestamp_index: arguments
                    .get("max_initial_timestamp_index")
                    .map(count),
                detect_timestamp: arguments.get("detect") != Some(&Value::Bool(false)),
                ..WhisperTimeStamp::new(16, 15)
            }),
            "WhisperNoSpeechDetection" => {
                match arguments["scores_are_logprobs"].as_bool().unwrap() {
                    true => Box::new(detection.clone().scores_are_logprobs()),
                    false => Box::new(detection.clone()),
                }
            }
            "AlternatingCodebooks" => Box::new(AlternatingCodebooks {
                input_start_len: count(&arguments["input_start_len"]),
                semantic_vocab_size: count(&arguments["semantic_vocab_size"]),
                codebook_size: count(&arguments["codebook_size"]),
            }),
            "BarkEosPrioritizer" => Box::new(BarkEosPrioritizer {
                eos: serde_json::from_value(arguments["eos_token_id"].clone()).unwrap(),
                min_eos_p: arguments["min_eos_p"].as_f64().unwrap() as f32,
            }),
            other => panic!("{other}"),
        };
        let score = |score: &Option<f32>| score.unwrap_or(f32::NEG_INFINITY);
        let logits: Vec<f32> = case.logits.iter().map(score).collect();
        let ours = process(&mut *processor, &case.input_ids, case.prompt_len, &logits);
        let reference: Vec<f32> = case.scores.iter().map(score).collect();
        assert_eq!(
            ours, reference,
            "{} {arguments} {:?}",
            case.processor, case.input_ids
        );
        if let Some(prob) = case.no_speech_prob {
            let apart = (detection.no_speech_prob(0).unwrap() - prob).abs();
            assert!(apart < 1e-6, "{apart}");
        }
    }
}

#[test]
fn marked_texts_are_detected_as_by_the_reference() {
    for case in golden().detections {
        let name = format!("{:?}", case.config);
        let detector = WatermarkDetector::new(case.config, 64, Some(1));
        let detector = detector.ignore_repeated_ngrams(case.ignore_repeated_ngrams);
        let ours = detector.detect(&case.ids, 3.0).unwrap();
        let counts = (ours.num_tokens_scored, ours.num_green_tokens);
        let reference = (case.num_tokens_scored, case.num_green_tokens);
        assert_eq!(counts, reference, "{name}");
        assert!((ours.z_score - case.z_score).abs() < 1e-9, "{name}");
        assert!((ours.p_value - case.p_value).abs() < 1e-9, "{name}");
        assert_eq!(ours.prediction, case.prediction, "{name}");
        assert!(detector.detect(&case.ids[..1], 3.0).is_none());
    }
}

#[test]
fn a_marked_text_is_found_and_another_is_not() {
    for seeding_scheme in [SeedingScheme::LeftHash, SeedingScheme::SelfHash] {
        let config = WatermarkingConfig {
            seeding_scheme,
            bias: 8.0,
            ..WatermarkingConfig::default()
        };
        let mut watermark = Watermark::new(config.clone());
        let detector = WatermarkDetector::new(config, 200, None);
        for marks in [true, false] {
            let mut ids = vec![7];
            for step in 0..100u32 {
                // Scores that have nothing to do with the marks.
                let score = |id: u32| ((id * 7919 + step * 104_729) % 1009) as f32 / 200.0;
                let mut scores: Vec<f32> = (0..200).map(score).collect();
                if marks {
                    scores = process(&mut watermark, &ids, 1, &scores);
                }
                let best = (0..200).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
                ids.push(best.unwrap() as u32);
            }
            let found = detector.detect(&ids, 3.0).unwrap();
            assert_eq!(found.prediction, marks, "{found:?}");
        }
    }
}

#[test]
fn a_synth_id_detector_equals_the_reference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/synth_id_detector");
    let texts = std::fs::read_to_string(folder.join("texts.json")).unwrap();
    let texts: Vec<(Vec<u32>, f32)> = serde_json::from_str(&texts).unwrap();
    let detector = SynthIDTextWatermarkDetector::from_pretrained(folder.as_path(), 0).unwrap();
    for (ids, posterior) in texts {
        let ours = detector.detect(&ids);
        assert!((ours - posterior).abs() < 1e-4, "{ours}, not {posterior}");
    }
    let missing = SynthIDTextWatermarkDetector::from_pretrained(folder.join("none").as_path(), 0);
    assert!(missing.is_err());
}

/// Values of the reference's tests, with as many tokens as must stay.
#[test]
fn as_many_tokens_stay_as_must() {
    // ramps from 0 to 9; the second one is a hundred times as steep
    let left = |filter: &dyn Fn() -> Box<dyn LogitsProcessor>| {
        [1.0, 100.0].map(|slope| {
            let ramp: Vec<f32> = (0..10).map(|i| i as f32 * slope).collect();
            let after = process(&mut *filter(), &[0], 1, &ramp);
            after.iter().filter(|score| score.is_finite()).count()
        })
    };
    let min_tokens_to_keep = 2;
    let top_p = || -> Box<dyn LogitsProcessor> {
        Box::new(TopP {
            p: 0.9,
            min_tokens_to_keep,
        })
    };
    let min_p = || -> Box<dyn LogitsProcessor> {
        Box::new(MinP {
            p: 0.9,
            min_tokens_to_keep,
        })
    };
    let typical = || -> Box<dyn LogitsProcessor> {
        Box::new(Typical {
            mass: 0.7,
            min_tokens_to_keep,
        })
    };
    let epsilon = || -> Box<dyn LogitsProcessor> {
        Box::new(Epsilon {
            epsilon: 0.05,
            min_tokens_to_keep,
        })
    };
    let eta = || -> Box<dyn LogitsProcessor> {
        Box::new(Eta {
            epsilon: 0.1,
            min_tokens_to_keep,
        })
    };
    assert_eq!(left(&top_p), [3, 2]);
    assert_eq!(left(&min_p), [2, 2]);
    assert_eq!(left(&typical), [2, 2]);
    assert_eq!(left(&epsilon), [3, 2]);
    assert_eq!(left(&eta), [2, 2]);
}

#[test]
fn repetitions_cost_what_they_cost_the_reference() {
    let scores = [-0.1, 0.1, 0.4];
    let after = process(&mut RepetitionPenalty(2.0), &[0, 1], 2, &scores);
    assert_eq!(after, [-0.2, 0.05, 0.4]);
    let mut encoder = EncoderRepetitionPenalty {
        penalty: 2.0,
        encoder_ids: vec![0, 1].into(),
    };
    assert_eq!(process(&mut encoder, &[2], 1, &scores), [-0.05, 0.2, 0.4]);
    let banned = |size, ids: &[u32]| -> Vec<usize> {
        let after = process(&mut NoRepeatNGram(size), ids, 0, &[0.0; 9]);
        (0..9).filter(|id| !after[*id].is_finite()).collect()
    };
    assert_eq!(banned(2, &[1, 1, 2, 1]), [1, 2]);
    assert_eq!(banned(2, &[0, 1, 0, 1]), [0]);
    assert!(banned(3, &[1, 1, 2, 1]).is_empty());
    assert_eq!(banned(3, &[0, 1, 0, 1]), [0]);
    assert_eq!(banned(3, &[1, 2, 5, 7, 8, 5, 1, 2]), [5]);
    let mut min = MinNewTokens {
        min: 3,
        eos: vec![1],
    };
    let is_free = |len: u32| {
        let ids: Vec<u32> = (0..len).collect();
        process(&mut min, &ids, 5, &[0.0; 2])[1].is_finite()
    };
    assert_eq!([5, 6, 7, 8].map(is_free), [false, false, false, true]);
}

/// Vocabularies are larger than what is sorted of them.
#[test]
fn large_vocabularies_are_filtered_as_small_ones() {
    let score = |id: u32| (id.wrapping_mul(2_654_435_761) >> 8) as f32 / 2e6;
    let scores: Vec<f32> = (0..20_000).map(score).collect();
    let mut sorted: Vec<usize> = (0..scores.len()).collect();
    sorted.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let total: f64 = scores.iter().map(|score| f64::from(*score).exp()).sum();
    let kept = |filter: &mut dyn LogitsProcessor| {
        let after = process(filter, &[0], 1, &scores);
        let kept: HashSet<usize> = (0..after.len())
            .filter(|id| after[*id].is_finite())
            .collect();
        let best: HashSet<usize> = sorted[..kept.len()].iter().copied().collect();
        assert_eq!(kept, best);
        let mass = |count: usize| {
            let kept = sorted[..count]
                .iter()
                .map(|id| f64::from(scores[*id]).exp());
            kept.sum::<f64>() / total
        };
        (kept.len(), mass(kept.len()), mass(kept.len() - 1))
    };
    for p in [0.1, 0.5, 0.9, 0.999] {
        let (_, mass, less) = kept(&mut TopP {
            p,
            min_tokens_to_keep: 1,
        });
        let p = f64::from(p);
        assert!(mass >= p - 1e-4 && less < p + 1e-4, "{p}: {mass}, {less}");
    }
    for k in [1, 50, 128, 129, 3000] {
        assert_eq!(kept(&mut TopK(k)).0, k);
    }
}
