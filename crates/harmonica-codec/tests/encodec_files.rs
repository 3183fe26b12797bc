//! What is wrong with an EnCodec model's files is said by name, and a model can be sealed.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has nothing to show")]

use harmonica_codec::{AudioCodec, Bandwidth, CodecError, import_encodec, open, open_encodec};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The tiny model with its tensors changed, opened.
fn with_changed(change: impl Fn(&mut Tensors)) -> Result<(), CodecError> {
    let source = fixture("encodec-causal");
    let bytes = std::fs::read(source.join("model_pairs.safetensors")).unwrap();
    let mut tensors: Tensors = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut tensors);
    let views = tensors
        .iter()
        .map(|(name, (shape, data))| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), dir.path().join("config.json")).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap())
        .unwrap();
    open_encodec(dir.path(), None).map(|_| ())
}

#[test]
fn a_tensor_that_is_renamed_added_misshapen_or_not_finite_is_named() {
    with_changed(|_| ()).unwrap();
    let name = "encoder.layers.1.block.3.conv.bias";
    let renamed = with_changed(|t| {
        let tensor = t.remove(name).unwrap();
        t.insert(format!("{name}es"), tensor);
    });
    let added = with_changed(|t| {
        let tensor = t[name].clone();
        t.insert("encoder.layers.99.conv.bias".into(), tensor);
    });
    let misshapen = with_changed(|t| {
        let (shape, data) = t.get_mut(name).unwrap();
        shape[0] -= 1;
        data.truncate(4 * shape[0]);
    });
    let not_finite =
        with_changed(|t| t.get_mut(name).unwrap().1[..4].copy_from_slice(&f32::NAN.to_le_bytes()));
    let without_length = with_changed(|t| drop(t.remove("decoder.layers.0.conv.weight_g")));
    for (found, words) in [
        (renamed, [name, "missing"]),
        (added, ["encoder.layers.99.conv.bias", "no place"]),
        (misshapen, [name, "shape"]),
        (not_finite, [name, "NaN"]),
        (without_length, ["decoder.layers.0.conv.weight_g", "missing"]),
    ] {
        let error = found.unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

/// The published model with its weights in another file.
fn with_weights(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("encodec-causal").join("config.json"), dir.path().join("config.json")).unwrap();
    std::fs::write(dir.path().join(name), bytes).unwrap();
    dir
}

#[test]
#[cfg(feature = "pytorch")]
fn files_that_torch_save_wrote_are_the_same_codec_and_seal_as_safetensors() {
    let source = fixture("encodec-causal");
    let expected = open_encodec(&source, Some(Bandwidth::Codebooks(6))).unwrap();
    let waveform = harmonica_audio::Waveform::new(
        (0..2000).map(|n| ((n * n) as f32 * 1e-3).sin() * 0.3).collect(),
        expected.spec().sample_rate_hz,
    );
    for (file, name) in [
        ("model_first_names.th", "model_first_names.th"),
        ("pytorch_model.bin", "pytorch_model.bin"),
        ("model_first_names.th", "encodec_24khz-d7cc33bc.th"),
    ] {
        let dir = with_weights(name, &std::fs::read(source.join(file)).unwrap());
        let codec = open_encodec(dir.path(), Some(Bandwidth::Codebooks(6))).unwrap();
        assert_eq!(codec.fingerprint(), expected.fingerprint(), "{name}");
        assert_eq!(codec.encode(&waveform).unwrap(), expected.encode(&waveform).unwrap(), "{name}");
        let sealed = dir.path().join("sealed");
        import_encodec(dir.path(), Some(Bandwidth::Codebooks(6)), &sealed).unwrap();
        assert_eq!(open(&sealed).unwrap().fingerprint(), expected.fingerprint(), "{name}");
    }
}

#[test]
#[cfg(feature = "pytorch")]
fn pickles_that_are_damaged_or_hold_more_than_tensors_are_refused_by_name() {
    let th = std::fs::read(fixture("encodec-causal").join("model_first_names.th")).unwrap();
    for (bytes, words) in [
        (&b"\x80\x02}X\x01\x00\x00\x00aK\x01s."[..], ["`a`", "a number"]),
        (b"\x80\x02}X\x01\x00\x00\x00a}X\x01\x00\x00\x00bX\x02\x00\x00\x00hiss.", ["`a.b`", "a text"]),
        (b"\x80\x02}X\x01\x00\x00\x00acos\nsystem\nX\x04\x00\x00\x00true\x85Rs.", ["`a`", "os.system"]),
        (b"\x80\x02]K\x01a.", ["its content", "a list"]),
        // Beside `best_state` anything may stand, within it only tensors.
        (b"\x80\x02}X\x0a\x00\x00\x00best_state}X\x01\x00\x00\x00bK\x01ss.", ["`b`", "a number"]),
        (&th[..th.len() / 2], ["encodec_24khz.th", "zip"]),
        (b"no pickle", ["encodec_24khz.th", "not a PyTorch checkpoint"]),
    ] {
        let dir = with_weights("encodec_24khz.th", bytes);
        let error = open(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }
}

#[test]
#[cfg(not(feature = "pytorch"))]
fn a_program_without_the_feature_says_how_to_read_what_torch_save_wrote() {
    let dir = with_weights("pytorch_model.bin", b"");
    let error = open(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("--features pytorch") && error.contains("pytorch_model.bin"), "{error}");
}

#[test]
fn a_truncated_file_and_a_model_with_scales_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = fixture("encodec-causal");
    std::fs::copy(source.join("config.json"), dir.path().join("config.json")).unwrap();
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    for n in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(dir.path().join("model.safetensors"), &bytes[..n]).unwrap();
        let error = open(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, CodecError::EnCodecModel { .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors`: "), "{n} bytes: {error}");
    }
    let error = open(&fixture("encodec-stereo")).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("scales"), "{error}");
}

#[test]
fn a_sealed_model_is_the_published_one_with_its_bandwidth() {
    let (source, dir) = (fixture("encodec-causal"), tempfile::tempdir().unwrap());
    let sealed = dir.path().join("sealed");
    // 4 kbit/s a codebook.
    let imported = import_encodec(&source, Some(Bandwidth::Kbps(9.0)), &sealed).unwrap();
    assert_eq!(imported.spec().n_codebooks, 2);
    let opened = open(&sealed).unwrap();
    assert_eq!((opened.spec(), opened.fingerprint()), (imported.spec(), imported.fingerprint()));
    let published = open_encodec(&source, Some(Bandwidth::Codebooks(2))).unwrap();
    assert_eq!(published.fingerprint(), opened.fingerprint());
    let wider = open_encodec(&sealed, Some(Bandwidth::Codebooks(3))).unwrap();
    assert_ne!(wider.fingerprint(), opened.fingerprint(), "other codes are another cache");
    // Every byte of the sealed form is checked.
    let weights = sealed.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    assert!(open(&sealed).is_err());
}

/// The environment belongs to the process, so this runs itself in another one, with a planted cache.
#[test]
fn a_repository_in_the_cache_is_opened_and_sealed_by_its_name_and_a_miss_says_where_it_looked() {
    const NAME: &str =
        "a_repository_in_the_cache_is_opened_and_sealed_by_its_name_and_a_miss_says_where_it_looked";
    if std::env::var_os("HARMONICA_PLANTED").is_none() {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--org--tiny-codec");
        let snapshot = repository.join("snapshots/5eed");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::write(repository.join("refs/main"), "5eed").unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(fixture("encodec-causal").join(file), snapshot.join(file)).unwrap();
        }
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env("HARMONICA_PLANTED", "1")
            .env("HF_HUB_CACHE", cache.path())
            .env("HF_HUB_OFFLINE", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let expected = open_encodec(&fixture("encodec-causal"), None).unwrap();
    let codec = open(Path::new("hf://org/tiny-codec")).unwrap();
    assert_eq!(codec.fingerprint(), expected.fingerprint());
    let sealed = tempfile::tempdir().unwrap();
    let sealed = sealed.path().join("sealed");
    import_encodec(Path::new("hf://org/tiny-codec@5eed"), None, &sealed).unwrap();
    assert_eq!(open(&sealed).unwrap().fingerprint(), expected.fingerprint());
    let error = open(Path::new("hf://org/tiny-codec@v2")).map(|_| ()).unwrap_err().to_string();
    let cache = std::env::var("HF_HUB_CACHE").unwrap();
    assert!(
        ["org/tiny-codec", "`v2`", "config.json", &cache].iter().all(|part| error.contains(part)),
        "{error}"
    );
}
