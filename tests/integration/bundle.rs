//! From an untrained model to a wav: bundles speak, and refuse what does not belong together.

use burn::tensor::Device;
use harmonica_config_schema::{Conditioning, Fingerprint};
use harmonica_inference::{
    BUNDLE_VERSION, Bundle, BundleManifest, BundleParts, DevicePreference, InferenceError, StopReason,
    SynthesisRequest, Synthesizer, SynthesizerBuilder,
};
use harmonica_model_core::{ArModel, NarModel, WeightStore};
use harmonica_tests::Fixture;
use std::path::Path;

/// The parts of a bundle of an untrained model.
pub(crate) fn parts(f: &Fixture, dir: &Path) -> BundleParts {
    let (spec, n_ids, n_voices) = (f.cache.spec(), f.cache.vocab().len(), f.cache.speakers().len());
    let geometry = f.geometry();
    let ar = ArModel::new(&f.config.model.ar, spec, n_ids, n_voices, Some(&geometry), 3, &Device::flex());
    let nar = NarModel::new(&f.config.model.nar, spec, n_ids, n_voices, Some(&geometry), 3, &Device::flex());
    BundleParts {
        manifest: BundleManifest {
            format_version: BUNDLE_VERSION,
            name: "test".into(),
            config: f.config.fingerprint(),
            ar: f.config.model.ar.clone(),
            nar: f.config.model.nar.clone(),
            ar_contract: f.contract(),
            nar_contract: f.contract(),
            vocab: f.cache.vocab().clone(),
            voices: f.cache.speakers().to_vec(),
            audio: None,
            known_words: Some(vec!["abc".into()]),
            decode: f.config.decode.clone(),
            updates: [0, 0],
            evaluation: None,
        },
        ar: WeightStore::of(&ar),
        nar: WeightStore::of(&nar),
        codec_dir: dir.join("codec"),
        references: Vec::new(),
    }
}

#[test]
fn a_bundle_speaks_the_same_twice_and_warns_of_unknown_words() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let bundle = dir.path().join("bundle");
    Bundle::write(&parts(&f, dir.path()), &bundle).unwrap();
    let synthesizer = SynthesizerBuilder::new(&bundle).open().unwrap();
    let request = SynthesisRequest::new("abc, def!").voice("voice1").seed(5);
    let (one, two) = (synthesizer.speak(&request).unwrap(), synthesizer.speak(&request).unwrap());
    assert_eq!(one, two);
    assert!(!one.waveform.samples().is_empty());
    assert!(one.warnings.iter().any(|w| w.contains("def")), "{:?}", one.warnings);
    let frames = std::cell::Cell::new(0);
    let cancelled = synthesizer.speak_with_progress(&request, |n| {
        frames.set(n);
        n < 2
    });
    assert!(cancelled.unwrap().codes[0].len() <= 2 && frames.get() <= 2);
}

#[test]
fn bad_requests_name_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Cross);
    let bundle = dir.path().join("bundle");
    Bundle::write(&parts(&f, dir.path()), &bundle).unwrap();
    let synthesizer = SynthesizerBuilder::new(&bundle).open().unwrap();
    let error = |request: SynthesisRequest| synthesizer.speak(&request).unwrap_err().to_string();
    assert!(error(SynthesisRequest::new("")).contains("nothing to say"));
    assert!(error(SynthesisRequest::new("a ".repeat(5000))).contains("at most 256"));
    let unknown = error(SynthesisRequest::new("abc").voice("nobody"));
    assert!(unknown.contains("nobody") && unknown.contains("voice0"), "{unknown}");
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let f = Fixture::new(dir.path(), Conditioning::Prefix);
    let open = |parts: &BundleParts| -> Result<Synthesizer, InferenceError> {
        let bundle = dir.path().join("bundle");
        Bundle::write(parts, &bundle)?;
        Synthesizer::from_bundle(Bundle::open(&bundle)?, DevicePreference::Cpu)
    };
    let mut other_vocabulary = parts(&f, dir.path());
    other_vocabulary.manifest.nar_contract.vocabulary = Fingerprint::of_bytes(b"other");
    let error = open(&other_vocabulary).err().unwrap();
    assert!(error.is_refusal() && error.to_string().contains("vocabulary"), "{error}");
    let mut wider = parts(&f, dir.path());
    wider.manifest.ar.width = Some(64);
    assert!(open(&wider).err().unwrap().to_string().contains("shape"));
    open(&parts(&f, dir.path())).unwrap();
    let weights = dir.path().join("bundle/ar.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() - 7]).unwrap();
    let error = Bundle::open(&dir.path().join("bundle")).err().unwrap().to_string();
    assert!(error.contains("ar.safetensors") && error.contains("expected"), "{error}");
}

#[test]
fn the_committed_bundle_is_read_and_speaks() {
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo-bundle");
    let synthesizer = SynthesizerBuilder::new(bundle).open().unwrap();
    let speech = synthesizer.speak(&SynthesisRequest::new("open the red box").voice("slt")).unwrap();
    assert_eq!(speech.stop, StopReason::EndOfSpeech);
    assert!((0.5..4.0).contains(&speech.waveform.duration_s()), "{}", speech.waveform.duration_s());
}

/// Format 2 had neither voice files nor an evaluation, and fewer decode settings.
#[test]
fn a_bundle_of_the_format_before_is_read_and_says_the_same() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo-bundle");
    let dir = tempfile::tempdir().unwrap();
    let files = ["ar.safetensors", "nar.safetensors", "codec/codec.json", "codec/codec.safetensors"];
    std::fs::create_dir(dir.path().join("codec")).unwrap();
    for file in files {
        std::fs::copy(committed.join(file), dir.path().join(file)).unwrap();
    }
    std::fs::copy(committed.join("codec/manifest.json"), dir.path().join("codec/manifest.json")).unwrap();
    let text = std::fs::read_to_string(committed.join("bundle.json")).unwrap();
    let mut description: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(description["format_version"], BUNDLE_VERSION);
    description["format_version"] = 2.into();
    let keys = description.as_object_mut().unwrap();
    assert!(keys.remove("evaluation").is_some(), "the committed bundle says what was found for it");
    let ar = keys["decode"]["ar"].as_object_mut().unwrap();
    ar.retain(|key, _| {
        !["repetition_penalty", "loop_retries", "loop_frames", "stall_chars"].contains(&&key[..])
    });
    keys["decode"]["nar"] = serde_json::json!({ "kind": "expected" });
    std::fs::write(dir.path().join("bundle.json"), description.to_string()).unwrap();
    let sealed = [&["bundle.json", "codec/manifest.json"][..], &files].concat();
    harmonica_storage::seal(dir.path(), &sealed).unwrap();
    let say = |bundle: &Path| {
        let synthesizer = SynthesizerBuilder::new(bundle).open().unwrap();
        synthesizer.speak(&SynthesisRequest::new("open the red box").voice("slt")).unwrap()
    };
    assert_eq!(say(dir.path()), say(&committed));
}
