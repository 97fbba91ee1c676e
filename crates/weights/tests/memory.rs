//! Memory while a checkpoint is read and converted, counted by the allocator.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use peak_alloc::PeakAlloc;
use transformers_hub::{CancelToken, HubOptions, ModelFiles};
use transformers_weights::conversion::{Collected, ConversionContext, ConversionOp, Operand};
use transformers_weights::{
    Checkpoint, DType, HostTensor, LoadPlan, LoadRules, OpenOptions, ReadOptions, SaveOptions,
    WeightConverter, WeightsError, conversion_mapping, plan, save_checkpoint, save_safetensors,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The allocator counts what all tests of this file use.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const LAYERS: usize = 24;
const EXPERTS: usize = 16;
/// Rows and columns of a projection: 16 KiB.
const SIDE: usize = 64;
const GROUP: usize = EXPERTS * SIDE * SIDE * 4;

fn name(layer: usize, expert: usize, projection: &str) -> String {
    format!("model.layers.{layer}.mlp.experts.{expert}.{projection}.weight")
}

fn value(layer: usize, expert: usize, projection: &str) -> f32 {
    (layer * 1000 + expert * 10 + projection.len()) as f32
}

/// Tensors of a mixture of experts with one value each.
fn experts(layers: usize, experts: usize, side: usize) -> Vec<(String, HostTensor)> {
    let mut tensors = Vec::new();
    for layer in 0..layers {
        for expert in 0..experts {
            for projection in ["gate_proj", "up_proj", "down_proj"] {
                let values = vec![value(layer, expert, projection); side * side];
                let tensor = HostTensor::from_vec(values, vec![side, side]).unwrap();
                tensors.push((name(layer, expert, projection), tensor));
            }
        }
    }
    tensors
}

fn parameters(layers: usize, experts: usize, side: usize) -> Vec<(String, Vec<usize>)> {
    let layer = |layer: usize| {
        let experts_of = format!("model.layers.{layer}.mlp.experts");
        [
            (
                format!("{experts_of}.gate_up_proj"),
                vec![experts, 2 * side, side],
            ),
            (format!("{experts_of}.down_proj"), vec![experts, side, side]),
        ]
    };
    (0..layers).flat_map(layer).collect()
}

fn planned(checkpoint: &Checkpoint, parameters: &[(String, Vec<usize>)]) -> LoadPlan {
    let transforms = conversion_mapping::of("qwen3_moe").unwrap();
    let rules = LoadRules {
        transforms: &transforms,
        ..LoadRules::default()
    };
    let plan = plan(parameters, checkpoint, &rules).unwrap();
    assert!(plan.report.is_clean(), "{}", plan.report);
    plan
}

#[test]
fn memory_is_the_groups_in_flight() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    save_safetensors(folder.path(), experts(LAYERS, EXPERTS, SIDE), 4 << 20).unwrap();
    let parameters = parameters(LAYERS, EXPERTS, SIDE);
    for mmap in [true, false] {
        let options = OpenOptions {
            mmap,
            ..OpenOptions::default()
        };
        let files = ModelFiles::resolve(folder.path(), &HubOptions::default()).unwrap();
        let checkpoint = Checkpoint::open(&files, &options).unwrap();
        let plan = planned(&checkpoint, &parameters);
        for (readers, bytes_in_flight) in [(0, 0), (4, 0), (4, 16 * GROUP), (2, 40 * GROUP)] {
            let options = ReadOptions {
                readers: Some(readers),
                bytes_in_flight,
                ..ReadOptions::default()
            };
            ALLOCATOR.reset_peak_usage();
            let before = ALLOCATOR.current_usage();
            let result = plan.read(&checkpoint, &options, |reader| {
                for (name, shape) in &parameters {
                    let tensor = reader.take(name)?.unwrap();
                    assert_eq!(tensor.shape(), shape);
                }
                Ok::<_, WeightsError>(())
            });
            result.unwrap();
            let peak = ALLOCATOR.peak_usage() - before;
            // A group of gates and ups is two sources and, at the worst, twice two results; the model keeps nothing here.
            let one_group = 6 * GROUP;
            let slack = GROUP;
            assert!(
                peak <= bytes_in_flight + one_group + slack,
                "{peak} bytes with {readers} readers and {bytes_in_flight} in flight, mapped: {mmap}"
            );
            assert!(peak >= 2 * GROUP, "the allocator counts");
            assert!(
                ALLOCATOR.current_usage() <= before + slack,
                "everything is freed"
            );
        }
    }
}

#[test]
fn many_small_experts_come_in_natural_order() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let (layers, count, side) = (48, 128, 2);
    let checkpoint = Checkpoint::from_tensors(experts(layers, count, side));
    let parameters = parameters(layers, count, side);
    let plan = planned(&checkpoint, &parameters);
    let loaded = plan.load(&checkpoint).unwrap();
    for layer in 0..layers {
        let parameter = format!("model.layers.{layer}.mlp.experts.gate_up_proj");
        let values = loaded[&parameter].as_slice::<f32>().unwrap();
        for (expert, rows) in values.chunks(2 * side * side).enumerate() {
            let (gate, up) = rows.split_at(side * side);
            assert!(
                gate.iter()
                    .all(|&found| found == value(layer, expert, "gate_proj"))
            );
            assert!(
                up.iter()
                    .all(|&found| found == value(layer, expert, "up_proj"))
            );
        }
    }
    let saved = plan.revert(loaded.into_iter().collect()).unwrap();
    assert_eq!(saved.len(), layers * count * 3);
    for tensor in saved {
        let (name, tensor) = tensor.into_tensor().unwrap();
        assert_eq!(tensor, checkpoint.tensor(&name).unwrap(), "{name}");
    }
}

/// Loading and saving gives the same bytes, and saving holds no more than the groups of a layer beside the model.
#[test]
fn a_converted_checkpoint_is_saved_as_it_was() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    save_safetensors(original.path(), experts(LAYERS, EXPERTS, SIDE), u64::MAX).unwrap();
    let file = original.path().join("model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let plan = planned(&checkpoint, &parameters(LAYERS, EXPERTS, SIDE));
    let loaded: Vec<_> = plan.load(&checkpoint).unwrap().into_iter().collect();
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let saved = plan.revert(loaded.clone()).unwrap();
    save_checkpoint(copy.path(), saved, &SaveOptions::default()).unwrap();
    let peak = ALLOCATOR.peak_usage() - before;
    // Gates and ups of one layer, and the names of all; the model has 72 groups.
    assert!(peak <= 2 * GROUP + 4 * GROUP, "{peak}");
    assert!(
        std::fs::read(copy.path().join("model.safetensors")).unwrap()
            == std::fs::read(&file).unwrap()
    );
    drop(loaded);
}

#[test]
fn parameters_come_in_any_order() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let checkpoint = Checkpoint::from_tensors(experts(6, 3, 4));
    let mut parameters = parameters(6, 3, 4);
    let plan = planned(&checkpoint, &parameters);
    let expected = plan.load(&checkpoint).unwrap();
    parameters.reverse();
    assert_eq!(plan.filled().count(), 12);
    let options = ReadOptions {
        readers: Some(3),
        ..ReadOptions::default()
    };
    let result = plan.read(&checkpoint, &options, |reader| {
        for (name, _) in &parameters {
            assert_eq!(reader.take(name)?.as_ref(), expected.get(name), "{name}");
        }
        assert!(reader.take("model.norm.weight")?.is_none());
        Ok::<_, WeightsError>(())
    });
    result.unwrap();
}

#[derive(Debug)]
struct Panics;

impl ConversionOp for Panics {
    fn convert(
        &self,
        tensors: Collected,
        _: &ConversionContext<'_>,
    ) -> Result<Collected, WeightsError> {
        let (name, tensor) = tensors.single()?;
        // Only with values: planning does not run into it.
        let shape = tensor.shape().to_vec();
        let tensor = Operand::map(vec![tensor], DType::F32, &shape, |_| {
            panic!("a faulty operation")
        });
        Ok(Collected::one(&name, tensor?))
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        None
    }
}

#[test]
fn an_operation_that_panics_is_an_error() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let tensor = HostTensor::from_vec(vec![1.0_f32], vec![1]).unwrap();
    let checkpoint = Checkpoint::from_tensors([("w".to_owned(), tensor)]);
    let converter = WeightConverter::new(&["w"], &["w"], vec![Arc::new(Panics)]).unwrap();
    let rules = LoadRules {
        transforms: &[converter.into()],
        ..LoadRules::default()
    };
    let plan = plan(&[("w".to_owned(), vec![1])], &checkpoint, &rules).unwrap();
    for readers in [0, 4] {
        let options = ReadOptions {
            readers: Some(readers),
            ..ReadOptions::default()
        };
        let result = plan.read(&checkpoint, &options, |reader| reader.take("w").map(|_| ()));
        assert!(result.unwrap_err().to_string().contains("panicked"));
    }
}

#[test]
fn reading_ends_when_it_is_cancelled() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let checkpoint = Checkpoint::from_tensors(experts(6, 3, 4));
    let parameters = parameters(6, 3, 4);
    let plan = planned(&checkpoint, &parameters);
    for readers in [0, 4] {
        let cancel = CancelToken::default();
        let options = ReadOptions {
            readers: Some(readers),
            cancel: Some(&cancel),
            ..ReadOptions::default()
        };
        let mut taken = 0;
        let result: Result<(), WeightsError> = plan.read(&checkpoint, &options, |reader| {
            for (name, _) in &parameters {
                reader.take(name)?;
                taken += 1;
                if taken == 3 {
                    cancel.cancel();
                }
            }
            Ok(())
        });
        assert!(matches!(result, Err(WeightsError::Cancelled)), "{result:?}");
        assert_eq!(taken, 3);
    }
}
