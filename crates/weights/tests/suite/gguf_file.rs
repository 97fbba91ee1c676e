//! GGUF files made up for tests, as faulty as a test wants them.

/// A GGUF file of version 3.
#[derive(Clone)]
pub struct GgufFile {
    pub architecture: &'static str,
    /// Metadata of type u32.
    pub numbers: Vec<(String, u32)>,
    pub tensors: Vec<GgufTensor>,
}

#[derive(Clone)]
pub struct GgufTensor {
    pub name: String,
    /// Row-major.
    pub shape: Vec<u64>,
    pub ggml_type: u32,
    pub data: Vec<u8>,
    /// Written instead of the true offset.
    pub offset: Option<u64>,
}

const ALIGNMENT: usize = 32;

impl GgufFile {
    pub fn new(architecture: &'static str) -> Self {
        Self {
            architecture,
            numbers: Vec::new(),
            tensors: Vec::new(),
        }
    }

    pub fn number(mut self, key: &str, value: u32) -> Self {
        self.numbers.push((key.to_owned(), value));
        self
    }

    pub fn tensor(mut self, name: &str, shape: &[u64], ggml_type: u32, data: &[u8]) -> Self {
        self.tensors.push(GgufTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            ggml_type,
            data: data.to_vec(),
            offset: None,
        });
        self
    }

    pub fn f32s(self, name: &str, shape: &[u64], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.tensor(name, shape, 0, &bytes)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.numbers.len() as u64 + 1).to_le_bytes());
        text(&mut out, "general.architecture");
        out.extend(8_u32.to_le_bytes());
        text(&mut out, self.architecture);
        for (key, value) in &self.numbers {
            text(&mut out, key);
            out.extend(4_u32.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            text(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            for dimension in tensor.shape.iter().rev() {
                out.extend(dimension.to_le_bytes());
            }
            out.extend(tensor.ggml_type.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out.extend(data);
        out
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
