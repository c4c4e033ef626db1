//! A model's parameters as another crate reads and writes them, and files that are refused with the reason.

use bnn::gpt::{Gpt, GptConfig};
use bnn::store::{read_safetensors, write_safetensors};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

fn model(tie_weights: bool) -> Gpt {
    Gpt::new(GptConfig {
        n_embd: 8,
        bias: true,
        tie_weights,
        ..GptConfig::named("tiny", 11).unwrap()
    })
    .unwrap()
}

fn bytes(params: &[f32]) -> Vec<u8> {
    params.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Broken: offsets in elements; a tensor in the place of its neighbour of the same shape.
#[test]
fn what_is_written_another_crate_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for tied in [true, false] {
        let gpt = model(tied);
        let params = gpt.layout().init(5);
        write_safetensors(&path, &gpt, &params).unwrap();
        let file = std::fs::read(&path).unwrap();
        let read = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(read.len(), gpt.layout().tensors().len());
        for t in gpt.layout().tensors() {
            let found = read.tensor(&t.name).unwrap();
            assert_eq!((found.dtype(), found.shape()), (Dtype::F32, &t.shape[..]));
            assert_eq!(found.data(), bytes(&params[t.range.clone()]), "{}", t.name);
        }
        assert_eq!(read_safetensors(&path, &gpt).unwrap(), params);
        assert!(write_safetensors(&path, &gpt, &params[1..]).is_err());
    }
}

/// In another order, with a tied head beside the embedding, and one tensor in bf16. Broken: bf16 read as the lower half.
#[test]
fn what_another_crate_writes_is_read() {
    let (dir, gpt) = (tempfile::tempdir().unwrap(), model(true));
    let path = dir.path().join("model.safetensors");
    let mut params = gpt.layout().init(6);
    let half = gpt
        .layout()
        .tensor("transformer.wpe.weight")
        .unwrap()
        .clone();
    for v in &mut params[half.range.clone()] {
        *v = f32::from_bits(v.to_bits() & 0xffff_0000);
    }
    let mut all: Vec<(String, Vec<usize>, Dtype, Vec<u8>)> = gpt
        .layout()
        .tensors()
        .iter()
        .rev()
        .map(|t| {
            let part = &params[t.range.clone()];
            if t.name == half.name {
                let upper = part
                    .iter()
                    .flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes());
                (
                    t.name.clone(),
                    t.shape.clone(),
                    Dtype::BF16,
                    upper.collect(),
                )
            } else {
                (t.name.clone(), t.shape.clone(), Dtype::F32, bytes(part))
            }
        })
        .collect();
    let (shape, data) = (all.last().unwrap().1.clone(), all.last().unwrap().3.clone());
    all.push(("lm_head.weight".into(), shape, Dtype::F32, data));
    let views = all.iter().map(|(name, shape, dtype, data)| {
        (
            name.as_str(),
            TensorView::new(*dtype, shape.clone(), data).unwrap(),
        )
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    assert_eq!(read_safetensors(&path, &gpt).unwrap(), params);
    // The file has not what a wider model needs, nor a head of its own of another shape.
    let wider = Gpt::new(GptConfig {
        n_embd: 16,
        ..gpt.config().clone()
    })
    .unwrap();
    let e = read_safetensors(&path, &wider).unwrap_err().to_string();
    assert!(
        e.contains("transformer.wte.weight has the shape [11, 8], expected [11, 16]"),
        "{e}"
    );
}

#[test]
fn damaged_files_are_refused_with_the_reason() {
    let (dir, gpt) = (tempfile::tempdir().unwrap(), model(true));
    let path = dir.path().join("model.safetensors");
    let params = gpt.layout().init(7);
    write_safetensors(&path, &gpt, &params).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut huge = whole.clone();
    huge[..8].fill(0xff);
    let mut nan = whole.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let text = |from: &str, to: &str| {
        let header = String::from_utf8_lossy(&whole[8..]).find(from).unwrap() + 8;
        let mut changed = whole.clone();
        changed[header..header + to.len()].copy_from_slice(to.as_bytes());
        changed
    };
    for (file, words) in [
        (whole[..end - 1].to_vec(), "not fully covered"),
        (whole[..5].to_vec(), "header too small"),
        (huge, "header too large"),
        (nan, "finite"),
        (text("\"F32\"", "\"F16\""), "invalid shape"),
        (text("\"F32\"", "\"I32\""), "type I32"),
        (
            text("transformer.wte", "transformer.xte"),
            "no tensor transformer.wte.weight",
        ),
        (text("{\"transformer", "[\"transformer"), "header"),
    ] {
        std::fs::write(&path, file).unwrap();
        let e = read_safetensors(&path, &gpt).unwrap_err().to_string();
        assert!(e.contains(words), "{e}, expected {words}");
    }
    assert!(read_safetensors(dir.path(), &gpt).is_err());
}
