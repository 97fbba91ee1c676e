//! x
use transformers_config::*;
fn main() {
    for a in std::env::args().skip(1) {
        let t = std::time::Instant::now();
        let c = match AutoConfig::from_pretrained(a.as_str(), &Default::default()) {
            Ok(c) => c,
            Err(e) => {
                println!("{a}: ERR {e}");
                continue;
            }
        };
        println!("{a} {:?} {}", t.elapsed(), c.model_type());
        match c.model_type() {
            "llama" => println!(
                "{}",
                AutoConfig::from_typed(&c.typed::<LlamaConfig>().unwrap())
                    .unwrap()
                    .to_json_string()
            ),
            "bert" => println!(
                "{}",
                AutoConfig::from_typed(&c.typed::<BertConfig>().unwrap())
                    .unwrap()
                    .to_json_string()
            ),
            "mistral" => {
                c.typed::<MistralConfig>().unwrap();
            }
            "qwen2" => {
                c.typed::<Qwen2Config>().unwrap();
            }
            "qwen3" => {
                c.typed::<Qwen3Config>().unwrap();
            }
            "gemma3_text" | "gemma3" => {
                c.typed::<Gemma3TextConfig>().unwrap();
            }
            o => println!("unknown {o}"),
        }
        println!(
            "{}",
            GenerationConfig::from_model_config(&c)
                .unwrap()
                .to_json_string()
                .unwrap()
                .replace('\n', " ")
        );
    }
}
