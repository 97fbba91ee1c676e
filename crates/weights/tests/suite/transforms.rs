//! What the tables do not show: faulty converters, operations outside the tables, mappings of one's own.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use transformers_weights::conversion::{
    Chunk, Concatenate, Conv3dToLinear, ConversionOp, Dequantize, Interleave, LinearToConv3d,
    MergeModulelist, PermuteForRope, Split, Transpose,
};
use transformers_weights::{
    Checkpoint, DType, GroupWeightRename, HostTensor, LazyTensor, LoadPlan, LoadRules,
    PrefixChange, Result, WeightConverter, WeightRenaming, WeightTransform, WeightsError,
    conversion_mapping, plan,
};

use crate::{check_error, converted};

fn numbers(shape: &[usize], first: i32) -> HostTensor {
    let count = shape.iter().product::<usize>() as i32;
    HostTensor::from_vec((first..first + count).collect(), shape.to_vec()).unwrap()
}

fn checkpoint(tensors: &[(&str, &[usize])]) -> Checkpoint {
    let named = tensors.iter().enumerate();
    Checkpoint::from_tensors(
        named
            .map(|(index, (name, shape))| ((*name).to_owned(), numbers(shape, 100 * index as i32))),
    )
}

fn planned(
    parameters: &[(&str, &[usize])],
    checkpoint: &Checkpoint,
    transforms: &[WeightTransform],
) -> LoadPlan {
    let parameters: Vec<_> = parameters
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()))
        .collect();
    let config = json!({"text_config": {"heads": 2}, "num_attention_heads": 2});
    let rules = LoadRules {
        transforms,
        config: Some(&config),
        ..LoadRules::default()
    };
    plan(&parameters, checkpoint, &rules).unwrap()
}

fn converter(
    sources: &[&str],
    targets: &[&str],
    operations: Vec<Arc<dyn ConversionOp>>,
) -> WeightTransform {
    WeightConverter::new(sources, targets, operations)
        .unwrap()
        .into()
}

/// Loads one tensor through `operation` and saves it again.
fn check(operation: impl ConversionOp + 'static, from: &[usize], to: &[usize], values: &[i32]) {
    let checkpoint = checkpoint(&[("a.disk", from)]);
    let transforms = [converter(&["disk"], &["memory"], vec![Arc::new(operation)])];
    let plan = planned(&[("a.memory", to)], &checkpoint, &transforms);
    assert!(plan.report.is_clean(), "{}", plan.report);
    let loaded = plan.load(&checkpoint).unwrap();
    assert_eq!(loaded["a.memory"].as_slice::<i32>(), Some(values));
    let saved = converted(plan.revert(loaded.into_iter().collect()).unwrap());
    assert_eq!(saved, [("a.disk".to_owned(), numbers(from, 0))]);
}

#[test]
fn operations_and_their_reverses() {
    check(Interleave::new(0), &[6], &[6], &[0, 2, 4, 1, 3, 5]);
    check(
        Interleave::new(1),
        &[2, 4],
        &[2, 4],
        &[0, 2, 1, 3, 4, 6, 5, 7],
    );
    // Two heads of four rows, and their biases.
    check(PermuteForRope::new(), &[8], &[8], &[0, 2, 1, 3, 4, 6, 5, 7]);
    check(
        PermuteForRope::new(),
        &[8, 1],
        &[8, 1],
        &[0, 2, 1, 3, 4, 6, 5, 7],
    );
    check(
        PermuteForRope::new().only(&["q_proj"]),
        &[4],
        &[4],
        &[0, 1, 2, 3],
    );
    let kernel: Vec<i32> = (0..48).collect();
    check(
        Conv3dToLinear::new(3, [2, 2, 2]),
        &[2, 3, 2, 2, 2],
        &[2, 24],
        &kernel,
    );
    check(
        LinearToConv3d::new(3, [2, 2, 2]),
        &[2, 24],
        &[2, 3, 2, 2, 2],
        &kernel,
    );
}

/// The reference's own example: two experts, gates and ups.
#[test]
fn experts_are_stacked_and_joined() {
    let named = |name: &str, values: [i32; 4]| {
        (
            format!("experts.{name}.weight"),
            HostTensor::from_vec(values.to_vec(), vec![2, 2]).unwrap(),
        )
    };
    let checkpoint = Checkpoint::from_tensors([
        named("0.w1", [0, 1, 2, 3]),
        named("1.w1", [10, 11, 12, 13]),
        named("0.w3", [4, 5, 6, 7]),
        named("1.w3", [14, 15, 16, 17]),
    ]);
    let transforms = [converter(
        &["experts.*.w1.weight", "experts.*.w3.weight"],
        &["experts.gate_up_proj.weight"],
        vec![
            Arc::new(MergeModulelist::new(0)),
            Arc::new(Concatenate::new(1)),
        ],
    )];
    let plan = planned(
        &[("experts.gate_up_proj.weight", &[2, 4, 2])],
        &checkpoint,
        &transforms,
    );
    let loaded = plan.load(&checkpoint).unwrap();
    let expected = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17];
    assert_eq!(
        loaded["experts.gate_up_proj.weight"].as_slice::<i32>(),
        Some(&expected[..])
    );
    let conversion = &plan.conversions[0];
    assert_eq!(conversion.tensors().len(), 4);
    assert_eq!(
        conversion.parameters().collect::<Vec<_>>(),
        ["experts.gate_up_proj.weight"]
    );
}

#[test]
fn what_cannot_be_converted_is_reported() {
    let fuse = || Arc::new(Concatenate::new(0)) as Arc<dyn ConversionOp>;
    let qkv = [converter(&["q_proj", "k_proj"], &["qk_proj"], vec![fuse()])];
    let checkpoint_of = checkpoint(&[("q_proj", &[2, 2]), ("k_proj", &[2, 3])]);
    let plan = planned(&[("qk_proj", &[4, 2])], &checkpoint_of, &qkv);
    assert_eq!(plan.report.missing, ["qk_proj"]);
    let failure = &plan.report.conversion_errors[0];
    assert_eq!(failure.name, "qk_proj");
    assert!(
        failure.reason.contains("Concatenate") && failure.reason.contains("[2, 3]"),
        "{failure:?}"
    );
    assert!(plan.conversions.is_empty() && plan.load(&checkpoint_of).unwrap().is_empty());

    // A mismatch is found before anything is read.
    let checkpoint_of = checkpoint(&[("q_proj", &[2, 2]), ("k_proj", &[2, 2])]);
    let plan = planned(&[("qk_proj", &[5, 2])], &checkpoint_of, &qkv);
    assert_eq!(plan.report.mismatched[0].checkpoint, [4, 2]);
    assert!(plan.conversions.is_empty());

    // A fused projection for which the model has no place is unexpected under all its names.
    let chunk = [converter(
        &["qkv"],
        &["q", "k", "v"],
        vec![Arc::new(Chunk::new(0))],
    )];
    let plan = planned(
        &[("layer.q.weight", &[1])],
        &checkpoint(&[("other.qkv.weight", &[3])]),
        &chunk,
    );
    assert_eq!(
        plan.report.unexpected,
        ["other.k.weight", "other.q.weight", "other.v.weight"]
    );
    assert_eq!(plan.report.missing, ["layer.q.weight"]);

    for operation in [
        Arc::new(Split::new(0)) as Arc<dyn ConversionOp>,
        Arc::new(Chunk::shards(0, "unknown")),
        Arc::new(Chunk::new(1)),
        Arc::new(Conv3dToLinear::new(1, [1, 1, 1])),
        Arc::new(LinearToConv3d::new(2, [1, 1, 1])),
        Arc::new(Interleave::new(0)),
        Arc::new(PermuteForRope::new()),
    ] {
        let text = format!("{operation:?}");
        let transforms = [converter(&["disk"], &["memory"], vec![operation])];
        let plan = planned(
            &[("memory", &[1])],
            &checkpoint(&[("disk", &[3])]),
            &transforms,
        );
        assert_eq!(plan.report.conversion_errors.len(), 1, "{text}");
        assert!(plan.report.conversion_errors[0].reason.contains(&text));
    }
}

#[test]
fn faulty_converters_are_refused() {
    let new = |sources: &[&str], targets: &[&str], operations| {
        WeightConverter::new(sources, targets, operations)
    };
    check_error(
        new(&["a"], &["b"], vec![]),
        &["`a` -> `b`", "needs an operation"],
    );
    let several = new(&["a", "b"], &["c", "d"], vec![Arc::new(Chunk::new(0))]);
    check_error(several, &["several sources become one target"]);
    check_error(new(&["("], &["b"], vec![Arc::new(Chunk::new(0))]), &["`(`"]);
    assert!(PrefixChange::add("(", "").is_err());
}

/// Two shards of four-bit values with a scale each, as a quantisation method might store them.
fn dequantized(parts: Vec<HostTensor>) -> Result<HostTensor> {
    let scale = parts[1].as_slice::<f32>().unwrap()[0];
    let values = parts[0].as_slice::<i8>().unwrap();
    let values = values
        .iter()
        .map(|&value| f32::from(value) * scale)
        .collect();
    HostTensor::from_vec(values, parts[0].shape().to_vec())
}

#[test]
fn quantised_weights_are_dequantised_and_stay_so() {
    let quantised =
        HostTensor::new(Bytes::from(vec![1, 2, 3, 0xFF]), DType::I8, vec![2, 2]).unwrap();
    let scale = HostTensor::from_vec(vec![0.5_f32], vec![1]).unwrap();
    let checkpoint = Checkpoint::from_tensors([
        ("a.weight".to_owned(), quantised),
        ("a.weight_scale".to_owned(), scale),
    ]);
    let transforms = [converter(
        &["weight$", "weight_scale"],
        &["weight"],
        vec![Arc::new(Dequantize::new("int8", DType::F32, dequantized))],
    )];
    let plan = planned(&[("a.weight", &[2, 2])], &checkpoint, &transforms);
    assert!(plan.report.is_clean(), "{}", plan.report);
    let loaded = plan.load(&checkpoint).unwrap();
    assert_eq!(
        loaded["a.weight"].as_slice::<f32>(),
        Some(&[0.5, 1.0, 1.5, -0.5][..])
    );

    // Before a converter's own operations, and after them.
    let rows = WeightConverter::new(&["weight$"], &["up", "down"], vec![Arc::new(Chunk::new(0))]);
    let whole = HostTensor::from_vec(vec![1_i32, 2, 3, 4], vec![2, 2]).unwrap();
    let stored = Checkpoint::from_tensors([("a.weight".to_owned(), whole)]);
    let chain = rows.unwrap().preceded_by(Arc::new(Transpose::new(0, 1)));
    let plan = planned(
        &[("a.up", &[1, 2]), ("a.down", &[1, 2])],
        &stored,
        &[chain.into()],
    );
    let loaded = plan.load(&stored).unwrap();
    assert_eq!(loaded["a.down"].as_slice::<i32>(), Some(&[2, 4][..]));
    let saved = converted(plan.revert(loaded.into_iter().collect()).unwrap());
    assert_eq!(saved[0].1, stored.tensor("a.weight").unwrap());
    let joined = WeightConverter::new(&["weight$"], &["w"], vec![Arc::new(Transpose::new(0, 1))]);
    let chain = joined.unwrap().followed_by(Arc::new(Interleave::new(0)));
    let plan = planned(&[("a.w", &[2, 2])], &stored, &[chain.into()]);
    let loaded = plan.load(&stored).unwrap();
    assert_eq!(loaded["a.w"].as_slice::<i32>(), Some(&[1, 3, 2, 4][..]));

    #[derive(Debug)]
    struct OneWay;
    impl ConversionOp for OneWay {
        fn convert(
            &self,
            tensors: transformers_weights::conversion::Collected,
            context: &transformers_weights::conversion::ConversionContext<'_>,
        ) -> Result<transformers_weights::conversion::Collected> {
            let (_, tensor) = tensors.single()?;
            Ok(transformers_weights::conversion::Collected::one(
                context.single_target()?,
                tensor,
            ))
        }
        fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
            None
        }
    }
    let transforms = [converter(&["weight$"], &["w"], vec![Arc::new(OneWay)])];
    let plan = planned(&[("a.w", &[2, 2])], &checkpoint, &transforms);
    let loaded = plan.load(&checkpoint).unwrap();
    let saved = plan.revert(loaded.into_iter().collect());
    assert!(matches!(saved, Err(WeightsError::Irreversible { .. })));
    check_error(saved, &["OneWay", "cannot be undone"]);
}

#[test]
fn names_that_shift_are_renamed_together_or_not_at_all() {
    let group: WeightTransform = GroupWeightRename::new(&[("norm0", "norm1"), ("norm1", "norm2")])
        .unwrap()
        .into();
    let parameters: [(&str, &[usize]); 2] = [("norm1.weight", &[1]), ("norm2.weight", &[1])];
    for names in [
        ["norm0.weight", "norm1.weight"],
        ["norm1.weight", "norm2.weight"],
    ] {
        let checkpoint = checkpoint(&[(names[0], &[1]), (names[1], &[1])]);
        let plan = planned(&parameters, &checkpoint, std::slice::from_ref(&group));
        assert!(plan.report.is_clean(), "{}", plan.report);
        assert_eq!(plan.sources["norm1.weight"], names[0]);
        let saved = plan
            .revert(plan.load(&checkpoint).unwrap().into_iter().collect())
            .unwrap();
        let saved: Vec<_> = saved.iter().map(LazyTensor::name).collect();
        assert_eq!(saved, names);
    }
}

/// Two converters for one parameter: the first takes it, and what the second takes is unexpected.
#[test]
fn converters_do_not_share_a_target() {
    let join = |sources: &[&str]| converter(sources, &["w"], vec![Arc::new(Concatenate::new(0))]);
    let transforms = [join(&["a"]), join(&["x", "y", "b"])];
    let checkpoint = checkpoint(&[("a", &[1]), ("b", &[1])]);
    let plan = planned(&[("w", &[1])], &checkpoint, &transforms);
    assert_eq!(plan.report.unexpected, ["b"]);
    assert_eq!(
        plan.load(&checkpoint).unwrap()["w"],
        checkpoint.tensor("a").unwrap()
    );
}

#[test]
fn the_users_key_mapping_is_undone_too() {
    let checkpoint = checkpoint(&[("transformer.h.0.ffn.w", &[1]), ("other.w", &[1])]);
    let key_mapping = [
        (
            r"^transformer\.h\.(\d+)".to_owned(),
            "model.layers.$1".to_owned(),
        ),
        ("ffn".to_owned(), "mlp".to_owned()),
        ("unused".to_owned(), "other".to_owned()),
    ];
    let rules = LoadRules {
        key_mapping: &key_mapping,
        ..LoadRules::default()
    };
    let parameters = ["model.layers.0.mlp.w", "other.w"].map(|name| (name.to_owned(), vec![1]));
    let plan = plan(&parameters, &checkpoint, &rules).unwrap();
    assert!(plan.report.is_clean(), "{}", plan.report);
    assert_eq!(plan.used_transforms.len(), 2);
    let saved = plan
        .revert(plan.load(&checkpoint).unwrap().into_iter().collect())
        .unwrap();
    let names: Vec<_> = saved.iter().map(LazyTensor::name).collect();
    assert_eq!(names, ["transformer.h.0.ffn.w", "other.w"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the sizes, saving gives back what was loaded.
    #[test]
    fn conversions_are_undone(
        experts in 1_usize..14,
        rows in 1_usize..5,
        cols in 1_usize..5,
        layers in 1_usize..4,
        family in prop::sample::select(vec!["qwen2_moe", "ernie4_5_vl_moe"]),
    ) {
        // Ernie's experts are for text and for images.
        let experts = if family == "ernie4_5_vl_moe" { 2 * experts } else { experts };
        let mut tensors = Vec::new();
        for layer in 0..layers {
            for expert in 0..experts {
                for projection in ["gate_proj", "up_proj", "down_proj"] {
                    let name = format!("model.layers.{layer}.mlp.experts.{expert}.{projection}.weight");
                    tensors.push((name, numbers(&[rows, cols], 1000 * tensors.len() as i32)));
                }
            }
        }
        let checkpoint = Checkpoint::from_tensors(tensors.clone());
        let groups = match family {
            "qwen2_moe" => vec![("mlp.experts", experts)],
            _ => vec![("mlp.text_moe.experts", experts / 2), ("mlp.vision_moe.experts", experts / 2)],
        };
        let prefix = if family == "qwen2_moe" { "model.layers" } else { "model.language_model.layers" };
        let mut parameters = Vec::new();
        for layer in 0..layers {
            for (path, count) in &groups {
                let path = format!("{prefix}.{layer}.{path}");
                parameters.push((format!("{path}.gate_up_proj"), vec![*count, 2 * rows, cols]));
                parameters.push((format!("{path}.down_proj"), vec![*count, rows, cols]));
            }
        }
        let transforms = conversion_mapping::of(family).unwrap();
        let rules = LoadRules { transforms: &transforms, ..LoadRules::default() };
        let plan = plan(&parameters, &checkpoint, &rules).unwrap();
        prop_assert!(plan.report.is_clean(), "{}", plan.report);
        let loaded = plan.load(&checkpoint).unwrap();
        let mut saved = converted(plan.revert(loaded.into_iter().collect()).unwrap());
        saved.sort_by(|a, b| a.0.cmp(&b.0));
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(saved, tensors);
    }
}

#[test]
fn mappings_of_ones_own() {
    let rename = |target| vec![WeightRenaming::new("^x", target).unwrap().into()];
    conversion_mapping::register("family_of_this_test", rename("y"), false).unwrap();
    let again = conversion_mapping::register("family_of_this_test", rename("z"), false);
    check_error(again, &["`family_of_this_test`", "overwrite"]);
    check_error(
        conversion_mapping::register("mixtral", rename("z"), false),
        &["`mixtral`"],
    );
    conversion_mapping::register("family_of_this_test", rename("z"), true).unwrap();
    let transforms = conversion_mapping::of("family_of_this_test").unwrap();
    let plan = planned(&[("z.w", &[1])], &checkpoint(&[("x.w", &[1])]), &transforms);
    assert!(plan.report.is_clean(), "{}", plan.report);
    assert!(conversion_mapping::of("llama").is_none());
}
