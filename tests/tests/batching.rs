//! The batching engine: whatever comes and goes, every request gets the tokens that it gets alone, and no block is lost.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use transformers_config::{GenerationConfig, StopStrings};
use transformers_generation::batching::RequestStatus;
use transformers_generation::{
    ContinuousBatchingConfig, ContinuousBatchingManager, Engine, FinishReason, Generate,
    GenerateError, GenerateOptions, Generated, GenerationEvent, Grammar, GrammarCompiler,
    LogitsProcessor, Request, RequestId, Step, generate_batch,
};
use transformers_modeling::AutoModelForCausalLM;
use transformers_tokenization::{AutoTokenizer, Tokenizer};

fn case(name: &str) -> AutoModelForCausalLM {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    AutoModelForCausalLM::from_pretrained(cases.join(name)).unwrap()
}

/// A tiny model that was trained to answer, with its tokenizer.
fn tiny_chat() -> (AutoModelForCausalLM, Tokenizer) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/transformers/tests/tiny");
    let model = AutoModelForCausalLM::from_pretrained(folder.as_path()).unwrap();
    let tokenizer = AutoTokenizer::from_pretrained(folder.as_path()).unwrap();
    (model, tokenizer)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

fn tight(num_blocks: usize) -> ContinuousBatchingConfig {
    ContinuousBatchingConfig {
        block_size: 4,
        num_blocks: Some(num_blocks),
        max_batch_tokens: 9,
        max_requests_per_batch: 6,
        ..ContinuousBatchingConfig::default()
    }
}

fn greedy(max_new_tokens: usize) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: Some(max_new_tokens),
        do_sample: Some(false),
        ..GenerationConfig::default()
    }
}

/// To the end of the room.
fn endless() -> GenerationConfig {
    GenerationConfig {
        min_new_tokens: Some(100_000),
        ..greedy(100_000)
    }
}

fn request(prompt: &[u32], config: GenerationConfig) -> Request {
    Request {
        config,
        ..Request::new(prompt)
    }
}

/// What [`Random`] asks for; the model's margins make its tokens the same whatever the rounding.
#[derive(Clone)]
struct Asked {
    prompt: Vec<u32>,
    config: GenerationConfig,
    seed: u64,
    priority: i32,
}

impl Asked {
    fn new(random: &mut Random) -> Self {
        // Of three beginnings, so that prefixes are shared.
        let begin = random.below(3);
        let len = 1 + random.below(22);
        let prompt = (0..len).map(|i| match i < 14 {
            true => (7 + 5 * begin + 3 * i) as u32 % 64,
            false => random.below(64) as u32,
        });
        let prompt = prompt.collect();
        let sampled = random.below(3) == 0;
        let config = GenerationConfig {
            do_sample: Some(sampled),
            temperature: sampled.then_some(0.7),
            top_k: sampled.then_some(5),
            repetition_penalty: (random.below(4) == 0).then_some(1.2),
            num_return_sequences: Some(1 + usize::from(sampled) * random.below(3)),
            ..greedy(1 + random.below(14))
        };
        Self {
            prompt,
            config,
            seed: random.below(1000) as u64,
            priority: random.below(3) as i32 - 1,
        }
    }

    fn request(&self) -> Request {
        Request {
            seed: Some(self.seed),
            priority: self.priority,
            ..request(&self.prompt, self.config.clone())
        }
    }

    fn alone(&self, model: &AutoModelForCausalLM) -> Generated {
        let options = GenerateOptions {
            seed: Some(self.seed),
            ..GenerateOptions::default()
        };
        model
            .generate_with(&self.prompt, &self.config, options)
            .unwrap()
    }
}

#[test]
fn random_arrivals_and_cancels_lose_no_block_and_change_no_token() {
    let model = case("llama");
    let (mut preempted, mut shared) = (0, 0);
    for seed in 0..12 {
        let random = &mut Random(seed);
        // The longest request just fits.
        let mut engine = Engine::new(&*model, None, tight(9 + random.below(8))).unwrap();
        let mut asked: HashMap<RequestId, Asked> = HashMap::new();
        let mut cancelled = Vec::new();
        let mut outputs = Vec::new();
        for _ in 0..60 {
            for _ in 0..random.below(3) {
                let one = Asked::new(random);
                asked.insert(engine.add_request(one.request()).unwrap(), one);
            }
            if random.below(6) == 0 && !asked.is_empty() {
                let mut ids: Vec<_> = asked.keys().copied().collect();
                ids.sort();
                let id = ids[random.below(ids.len())];
                let before = engine.stats();
                if engine.cancel_request(id) {
                    assert!(engine.stats().used_blocks <= before.used_blocks);
                    cancelled.push(id);
                }
                assert!(!engine.cancel_request(id));
            }
            engine.step();
            let stats = engine.stats();
            assert!(stats.used_blocks <= stats.blocks);
            outputs.extend(engine.take_finished());
        }
        let mut steps = 0;
        while engine.has_work() {
            engine.step();
            steps += 1;
            assert!(steps < 5000, "a request does not end");
        }
        outputs.extend(engine.take_finished());
        let stats = engine.stats();
        assert_eq!((stats.used_blocks, stats.running, stats.waiting), (0, 0, 0));
        assert_eq!(outputs.len(), asked.len(), "every request ends once");
        for output in outputs {
            let one = &asked[&output.request_id];
            assert!(output.error.is_none(), "{:?}", output.error);
            let alone = one.alone(&model);
            for (index, sequence) in output.sequences.iter().enumerate() {
                let expect = alone.new_tokens(index);
                let ours = &sequence.generated_tokens;
                if cancelled.contains(&output.request_id) {
                    assert!(expect.starts_with(ours));
                    continue;
                }
                assert_eq!(ours, expect, "seed {seed}, {:?}", one.prompt);
                assert_eq!(sequence.finish_reason, Some(alone.finish_reasons[index]));
            }
        }
        preempted += stats.preemptions;
        shared += stats.cached_tokens;
    }
    assert!(preempted > 20 && shared > 200, "{preempted}, {shared}");
}

#[test]
fn a_shared_prefix_is_computed_once() {
    let model = case("llama");
    let prompt: Vec<u32> = (0..16).map(|i| (3 * i + 5) % 64).collect();
    let config = ContinuousBatchingConfig {
        max_batch_tokens: 64,
        ..tight(40)
    };
    let mut engine = Engine::new(&*model, None, config).unwrap();
    for tail in 0..5 {
        let prompt = [&prompt[..], &[tail]].concat();
        engine.add_request(request(&prompt, greedy(4))).unwrap();
    }
    // All of them at once: those after the first read what it writes in the same pass.
    engine.step();
    assert_eq!(engine.stats().computed_tokens, 17 + 4);
    assert_eq!(engine.stats().cached_tokens, 4 * 16);
    let first = engine.run();
    // All is known but what the last token gives, which goes into a copy.
    let prompt = [&prompt[..], &[0], first[0].generated_tokens()].concat();
    let known = &prompt[..20];
    engine.add_request(request(known, greedy(4))).unwrap();
    let again = engine.run();
    assert_eq!(again[0].cached_tokens, 19);
    let alone = model.generate(known, &greedy(4)).unwrap();
    assert_eq!(again[0].generated_tokens(), alone.new_tokens(0));
    assert_eq!(engine.stats().used_blocks, 0);
}

#[test]
fn families_without_pages_run_beside_each_other() {
    for name in ["modernbert_decoder", "mamba2_limits", "lfm2"] {
        let model = case(name);
        let prompts: [&[u32]; 3] = [&[5, 6, 7, 8], &[9, 10], &[11, 12, 13, 14, 15, 16, 17]];
        // With room for all, and so little that some give way.
        for blocks in [12, 5] {
            let requests = prompts.map(|prompt| request(prompt, greedy(8)));
            let outputs = generate_batch(&*model, None, requests.into(), &tight(blocks)).unwrap();
            for (prompt, output) in prompts.into_iter().zip(outputs) {
                let alone = model.generate(prompt, &greedy(8)).unwrap();
                assert_eq!(output.generated_tokens(), alone.new_tokens(0), "{name}");
            }
        }
    }
}

/// Panics at its second step.
#[derive(Debug, Clone)]
struct Panics;

impl LogitsProcessor for Panics {
    fn process(&mut self, step: &Step<'_>, _scores: &mut [f32]) {
        assert!(step.new_ids().is_empty(), "as it should");
    }
}

/// Forbids every token.
#[derive(Debug, Clone)]
struct ForbidsAll;

impl LogitsProcessor for ForbidsAll {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        scores.fill(f32::NEG_INFINITY);
    }
}

#[test]
fn what_goes_wrong_ends_its_request_only() {
    let model = case("llama");
    let prompt: &[u32] = &[20, 31, 44, 12, 57, 33, 26];
    let with = |processor: Box<dyn LogitsProcessor>| Request {
        processors: vec![processor],
        ..request(prompt, greedy(6))
    };
    let broken_sink = Request {
        sink: Some(Box::new(|_| panic!("as it should"))),
        ..request(prompt, greedy(6))
    };
    let beyond = [prompt, &[100_000]].concat();
    let requests = vec![
        request(prompt, greedy(6)),
        with(Box::new(Panics)),
        // Found out by the model, in the pass of all.
        request(&beyond, greedy(6)),
        broken_sink,
        with(Box::new(ForbidsAll)),
        request(&[], greedy(6)),
        request(&prompt[..3], greedy(6)),
    ];
    let outputs = generate_batch(&*model, None, requests, &tight(30)).unwrap();
    // The one with a sink has no output here.
    assert_eq!(outputs.len(), 6);
    let good = [(0, prompt), (5, &prompt[..3])];
    let expect = good.map(|(_, prompt)| model.generate(prompt, &greedy(6)).unwrap());
    let fine: Vec<_> = outputs
        .iter()
        .filter(|output| output.error.is_none())
        .collect();
    assert_eq!(fine.len(), 2);
    for (output, alone) in fine.into_iter().zip(expect) {
        assert_eq!(output.generated_tokens(), alone.new_tokens(0));
    }
    let error = |check: fn(&GenerateError) -> bool| {
        let errors = outputs.iter().filter_map(|output| output.error.as_ref());
        assert_eq!(errors.filter(|error| check(error)).count(), 1);
    };
    error(|error| matches!(error, GenerateError::Panicked(_)));
    error(|error| matches!(error, GenerateError::NothingAllowed { step: 0 }));
    error(|error| matches!(error, GenerateError::EmptyPrompt));
    error(|error| matches!(error, GenerateError::Model(_)));
    let failed = outputs
        .iter()
        .filter(|output| output.status == RequestStatus::Failed);
    assert_eq!(failed.count(), 4);
}

#[test]
fn requests_that_cannot_be_served_are_refused() {
    let model = case("llama");
    let config = ContinuousBatchingConfig {
        max_queue_size: 2,
        ..tight(2)
    };
    let mut engine = Engine::new(&*model, None, config).unwrap();
    let prompt = [5; 9];
    let refused = engine.add_request(request(&prompt, greedy(4))).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("9 tokens, and all blocks of the engine hold 8")
    );
    let beams = GenerationConfig {
        num_beams: Some(3),
        ..greedy(4)
    };
    let refused = engine
        .add_request(request(&prompt[..4], beams))
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("`num_beams` is not for requests")
    );
    // As many tokens as there is room for, the last of which needs none.
    engine
        .add_request(request(&prompt[..6], endless()))
        .unwrap();
    let several = GenerationConfig {
        num_return_sequences: Some(2),
        do_sample: Some(true),
        ..greedy(4)
    };
    let refused = engine
        .add_request(request(&prompt[..4], several))
        .unwrap_err();
    assert!(matches!(refused, GenerateError::QueueFull { max: 2 }));
    let outputs = engine.run();
    assert_eq!(outputs[0].generated_tokens().len(), 3);
    assert_eq!(
        outputs[0].sequences[0].finish_reason,
        Some(FinishReason::Length)
    );

    let none = ContinuousBatchingConfig {
        block_size: 0,
        ..ContinuousBatchingConfig::default()
    };
    assert!(Engine::new(&*model, None, none).is_err());
}

#[test]
fn ten_thousand_requests_take_steps_in_proportion() {
    let model = case("llama");
    let config = || ContinuousBatchingConfig {
        max_batch_tokens: 256,
        max_requests_per_batch: 64,
        ..tight(256)
    };
    let steps = |count: usize| {
        let mut engine = Engine::new(&*model, None, config()).unwrap();
        let touched = Arc::new(AtomicUsize::new(0));
        let counts = |_| {
            let touched = touched.clone();
            let sink = move |_| {
                touched.fetch_add(1, Ordering::Relaxed);
                ControlFlow::Continue(())
            };
            Request {
                sink: Some(Box::new(sink)),
                ..request(&[7, 11, 13], greedy(1))
            }
        };
        let ids: Vec<_> = (0..count)
            .map(counts)
            .map(|one| engine.add_request(one).unwrap())
            .collect();
        // Half of them leave before their turn.
        for id in ids.iter().step_by(2) {
            assert!(engine.cancel_request(*id));
        }
        engine.run();
        assert_eq!(touched.load(Ordering::Relaxed), count / 2 * 3);
        engine.stats()
    };
    let (few, many) = (steps(1000), steps(10_000));
    assert!(many.steps <= 11 * few.steps, "{few:?}, {many:?}");
    assert_eq!((many.generated_tokens, many.used_blocks), (5000, 0));
}

#[test]
fn every_request_has_its_own_settings() {
    let (model, tokenizer) = tiny_chat();
    let prompt = tokenizer.encode("The sea is", true).unwrap();
    let grammars = GrammarCompiler::new(&tokenizer, model.info().generation_config.eos_token_ids());
    let choice = grammars.unwrap();
    let choice = choice.compile(&Grammar::Choices(vec!["yes".into(), "no".into()]));
    let plain = model.generate(&prompt, &greedy(12)).unwrap();
    let text = tokenizer.decode(plain.new_tokens(0), true).unwrap();
    let stop: String = text.chars().skip(3).take(2).collect();
    let stopping = GenerationConfig {
        stop_strings: Some(StopStrings::One(stop.clone())),
        ..greedy(12)
    };
    let sampled = GenerationConfig {
        do_sample: Some(true),
        ..greedy(12)
    };
    let requests = vec![
        Request {
            logprobs: Some(2),
            ..request(&prompt, greedy(12))
        },
        Request {
            processors: vec![Box::new(choice.unwrap())],
            ..request(&prompt, greedy(12))
        },
        request(&prompt, stopping),
        Request {
            seed: Some(5),
            ..request(&prompt, sampled.clone())
        },
    ];
    let config = ContinuousBatchingConfig::default();
    let outputs = generate_batch(&*model, Some(&tokenizer), requests, &config).unwrap();
    assert_eq!(outputs[0].generated_tokens(), plain.new_tokens(0));
    let options = GenerateOptions {
        logprobs: Some(2),
        ..GenerateOptions::default()
    };
    let alone = model.generate_with(&prompt, &greedy(12), options).unwrap();
    let pairs = outputs[0].sequences[0]
        .logprobs
        .iter()
        .zip(&alone.logprobs[0]);
    assert_eq!(pairs.len(), plain.new_lens[0]);
    for (ours, alone) in pairs {
        assert_eq!(ours.token, alone.token);
        assert!((ours.logprob - alone.logprob).abs() < 1e-4);
    }
    let chosen = tokenizer
        .decode(outputs[1].generated_tokens(), true)
        .unwrap();
    assert!(["yes", "no"].contains(&chosen.as_str()), "{chosen}");
    let stopped = tokenizer
        .decode(outputs[2].generated_tokens(), true)
        .unwrap();
    assert!(stopped.contains(&stop) && stopped.len() < text.len());
    assert_eq!(
        outputs[2].sequences[0].finish_reason,
        Some(FinishReason::StopString)
    );
    let options = GenerateOptions {
        seed: Some(5),
        ..GenerateOptions::default()
    };
    let alone = model.generate_with(&prompt, &sampled, options).unwrap();
    assert_eq!(outputs[3].generated_tokens(), alone.new_tokens(0));
}

#[test]
fn a_manager_serves_streams_and_cancels() {
    let model: Arc<dyn transformers_modeling::PreTrainedModel> =
        Arc::from(case("llama").into_inner());
    let prompt: &[u32] = &[20, 31, 44, 12, 57];
    let expect = model.generate(prompt, &greedy(20)).unwrap();
    let mut manager = ContinuousBatchingManager::new(model.clone(), None, tight(40)).unwrap();
    assert!(!manager.is_running());
    let early = manager.add_request(request(prompt, greedy(20))).unwrap();
    manager.start();
    assert!(manager.is_running());
    let minute = Duration::from_secs(60);
    let output = manager.get_result(Some(early), minute).unwrap();
    assert_eq!(output.generated_tokens(), expect.new_tokens(0));

    let streamed = Request {
        streaming: true,
        ..request(prompt, greedy(20))
    };
    let id = manager.add_request(streamed).unwrap();
    let mut tokens = Vec::new();
    for event in manager.request_id_iter(id).unwrap() {
        match event {
            GenerationEvent::Token { token, .. } => tokens.push(token),
            GenerationEvent::Done(output) => assert_eq!(output.generated_tokens(), tokens),
        }
    }
    assert_eq!(tokens, expect.new_tokens(0));
    assert!(manager.request_id_iter(id).is_none());

    // From several threads, and one that goes away.
    let (sender, receiver) = mpsc::channel();
    let leaves = Request {
        sink: Some(Box::new(move |event| match sender.send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })),
        ..request(prompt, endless())
    };
    manager.add_request(leaves).unwrap();
    receiver.recv().unwrap();
    drop(receiver);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let id = manager.add_request(request(prompt, greedy(20))).unwrap();
                let output = manager.get_result(Some(id), minute).unwrap();
                assert_eq!(output.generated_tokens(), expect.new_tokens(0));
            });
        }
    });
    let long = manager.add_request(request(prompt, endless())).unwrap();
    manager.cancel_request(long);
    let output = manager.get_result(None, minute).unwrap();
    assert_eq!(output.request_id, long);
    assert_eq!(
        output.sequences[0].finish_reason,
        Some(FinishReason::Cancelled)
    );

    let last = manager.add_request(request(prompt, greedy(20))).unwrap();
    manager.join();
    assert!(!manager.is_running());
    assert_eq!(manager.stats().used_blocks, 0);
    let output = manager.get_result(Some(last), Duration::ZERO).unwrap();
    assert_eq!(output.generated_tokens(), expect.new_tokens(0));
    let refused = manager.add_request(request(prompt, greedy(20)));
    assert!(matches!(refused, Err(GenerateError::EngineStopped)));
}

#[test]
fn deterministic_scores_have_the_same_bits_in_any_company() {
    // Plain, learned positions, biases by distance, windows, caps, sinks, experts, small vectors, and no pages at all.
    let names = [
        "llama",
        "gpt2",
        "bloom",
        "gemma2",
        "gpt_oss",
        "mixtral",
        "deepseek_v3",
        "phi3_longrope",
        "modernbert_decoder",
    ];
    for name in names {
        let model = case(name);
        let prompt: Vec<u32> = (0..19).map(|i| (5 * i + 3) % 40).collect();
        let bits = |config: ContinuousBatchingConfig, neighbours: usize| {
            let config = ContinuousBatchingConfig {
                deterministic: true,
                ..config
            };
            let mut engine = Engine::new(&*model, None, config).unwrap();
            for neighbour in 0..neighbours {
                let other = &prompt[neighbour % 7..neighbour % 5 + 8];
                engine
                    .add_request(request(other, greedy(3 + neighbour)))
                    .unwrap();
                engine.step();
            }
            let asked = Request {
                logprobs: Some(4),
                ..request(&prompt, greedy(8))
            };
            let id = engine.add_request(asked).unwrap();
            let outputs = engine.run();
            let output = outputs
                .into_iter()
                .find(|output| output.request_id == id)
                .unwrap();
            assert!(output.error.is_none(), "{name}: {:?}", output.error);
            let logprobs = output.sequences[0].logprobs.iter();
            let bits = logprobs.flat_map(|one| one.top.iter().map(|(id, p)| (*id, p.to_bits())));
            bits.collect::<Vec<_>>()
        };
        let alone = bits(tight(100), 0);
        assert!(!alone.is_empty());
        let wide = ContinuousBatchingConfig {
            max_batch_tokens: 200,
            max_requests_per_batch: 20,
            ..tight(100)
        };
        assert_eq!(bits(wide.clone(), 0), alone, "{name}: in one piece");
        assert_eq!(bits(wide, 11), alone, "{name}: beside others");
        assert_eq!(bits(tight(11), 9), alone, "{name}: with hardly any room");
    }
}
