//! `POST /v1/embeddings`.

use serde_json::{Value, json};

use super::server::tiny;

const PATH: &str = "/v1/embeddings";

fn vector(answer: &Value, index: usize) -> Vec<f32> {
    let numbers = answer["data"][index]["embedding"]
        .as_array()
        .unwrap()
        .iter();
    numbers
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[test]
fn texts_become_vectors() {
    let server = tiny();
    let answer = server.ok(
        PATH,
        &json!({"input": ["The capital", "of France", "The capital"]}),
    );
    assert_eq!(answer["data"].as_array().unwrap().len(), 3);
    let vectors: Vec<Vec<f32>> = (0..3).map(|index| vector(&answer, index)).collect();
    assert_eq!(vectors[0].len(), 24);
    assert!((length(&vectors[0]) - 1.0).abs() < 1e-5);
    assert_ne!(vectors[0], vectors[1]);
    let apart = vectors[0]
        .iter()
        .zip(&vectors[2])
        .map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-6);
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() >= 6);

    let one = server.ok(PATH, &json!({"input": "The capital"}));
    let encoded = server.ok(
        PATH,
        &json!({"input": "The capital", "encoding_format": "base64"}),
    );
    let text = encoded["data"][0]["embedding"].as_str().unwrap();
    assert_eq!(text.len(), 24 * 4 / 3 * 4);
    let short = vector(
        &server.ok(PATH, &json!({"input": "The capital", "dimensions": 8})),
        0,
    );
    assert_eq!(short.len(), 8);
    assert!((length(&short) - 1.0).abs() < 1e-5);
    let scale = length(&vector(&one, 0)[..8]);
    assert!((short[0] - vector(&one, 0)[0] / scale).abs() < 1e-5);
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let server = tiny();
    server.check_refused(PATH, &json!({"input": []}), 422, "0 texts");
    server.check_refused(PATH, &json!({"input": [1, 2]}), 422, "expected a string");
    server.check_refused(
        PATH,
        &json!({"input": "x", "dimensions": 25}),
        422,
        "dimensions",
    );
    server.check_refused(
        PATH,
        &json!({"input": "x", "dimensions": 0}),
        422,
        "dimensions",
    );
    server.check_refused(PATH, &json!({"input": ""}), 422, "");
    server.check_refused(PATH, &json!({"input": "x", "prompt_name": "no"}), 422, "no");
    server.check_refused(
        PATH,
        &json!({"input": "x", "encoding_format": "hex"}),
        422,
        "hex",
    );
}
