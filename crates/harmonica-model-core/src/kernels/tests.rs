//! Kernels against the composed operations: values and gradients.

use super::*;
use burn::tensor::{Device, TensorData};
use harmonica_config_schema::RandomStream;

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const N: usize>(name: &str, shape: [usize; N]) -> Tensor<N> {
    let mut stream = RandomStream::new(7, name, &[]);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
    Tensor::<N>::from_data(TensorData::new(values, shape), &device()).require_grad()
}

fn values<const N: usize>(x: Tensor<N>) -> Vec<f32> {
    x.into_data().try_into_vec_as::<f32>().unwrap()
}

fn assert_near(name: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{name}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= 2e-4 * (1.0 + b.abs()), "{name}[{i}]: {a} is not {b}");
    }
}

/// Holds value and gradients of two versions of an operation against each other, weighting the output unevenly.
fn check<const N: usize, const M: usize>(
    name: &str,
    inputs: &[Tensor<N>],
    fused: impl Fn(&[Tensor<N>]) -> Tensor<M>,
    composed: impl Fn(&[Tensor<N>]) -> Tensor<M>,
) {
    let run = |f: &dyn Fn(&[Tensor<N>]) -> Tensor<M>| {
        let y = f(inputs);
        let weights = random::<M>("weights", y.dims()).detach();
        let grads = (y.clone() * weights).sum().backward();
        let gradients: Vec<Vec<f32>> = inputs.iter().map(|x| values(x.grad(&grads).unwrap())).collect();
        (values(y), gradients)
    };
    let (a, b) = (run(&fused), run(&composed));
    assert_near(name, &a.0, &b.0);
    for (i, (a, b)) in a.1.iter().zip(&b.1).enumerate() {
        assert_near(&format!("{name} gradient {i}"), a, b);
    }
}

#[test]
fn layer_norm_agrees_with_its_composition() {
    let (gamma, beta) = (random("gamma", [96]), random("beta", [96]));
    let x = random("x", [3, 300, 96]);
    let (g, b) = (gamma.clone(), beta.clone());
    check(
        "layer_norm",
        &[x],
        |x| layer_norm(x[0].clone(), g.clone(), b.clone()),
        |x| composed::layer_norm(x[0].clone(), gamma.clone(), beta.clone()),
    );
    // The parameters' own gradients.
    let x = random("x", [2, 5, 96]);
    let (x1, x2) = (x.clone(), x);
    check(
        "layer_norm parameters",
        &[random("gamma", [96]), random("beta", [96])],
        |p| layer_norm(x1.clone(), p[0].clone(), p[1].clone()),
        |p| composed::layer_norm(x2.clone(), p[0].clone(), p[1].clone()),
    );
}

#[test]
fn gelu_agrees_with_its_composition_also_on_transposed_input() {
    let x = random("x", [70, 1000]);
    check(
        "gelu",
        &[x],
        |x| gelu(x[0].clone().transpose() * 3.0),
        |x| composed::gelu(x[0].clone().transpose() * 3.0),
    );
}

#[test]
fn rotary_agrees_with_its_composition() {
    let table = RotaryTable::new((0..6).chain(0..40), 2, 16);
    check(
        "rotary",
        &[random("x", [40, 46, 32])],
        |x| rotary(x[0].clone(), &table),
        |x| composed::rotary(x[0].clone(), &table),
    );
}

#[test]
fn attention_agrees_with_its_composition_under_every_mask() {
    let masks = [
        AttentionMask {
            n_prefix: 4,
            prefix_lengths: vec![4, 2, 1],
            rest_lengths: vec![7, 5, 3],
            causal: true,
        },
        AttentionMask {
            n_prefix: 4,
            prefix_lengths: vec![4, 2, 1],
            rest_lengths: vec![7, 5, 3],
            causal: false,
        },
        AttentionMask::padded(11, vec![11, 3, 1]),
    ];
    for mask in masks {
        let mask = Arc::new(mask);
        check(
            "attention",
            &[random("q", [3, 11, 32]), random("k", [3, 11, 32]), random("v", [3, 11, 32])],
            |x| attention(x[0].clone(), x[1].clone(), x[2].clone(), 2, &mask),
            |x| composed::attention(x[0].clone(), x[1].clone(), x[2].clone(), 2, &mask),
        );
    }
}

#[test]
fn cross_entropy_agrees_with_its_composition() {
    let ids: Vec<i32> = (0..90).map(|i| (i * 37) % 129).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(ids, [90]), &device());
    for smoothing in [0.0, 0.1] {
        check(
            "cross_entropy",
            &[random("logits", [90, 129])],
            |x| cross_entropy(x[0].clone() * 4.0, targets.clone(), smoothing),
            |x| composed::cross_entropy(x[0].clone() * 4.0, targets.clone(), smoothing),
        );
    }
}

#[test]
fn dropout_keeps_the_mean_and_its_gradient_sees_the_same_mask() {
    let x = random("x", [200, 500]);
    let ones = Tensor::<2>::ones([200, 500], &device()).require_grad();
    let dropout = Some(DropoutKey { rate: 0.25, key: 42 });
    let y = add_dropped(x.clone(), ones.clone(), dropout);
    let grads = y.clone().sum().backward();
    let added: Vec<f32> = values(y - x.clone());
    let mask = values(ones.grad(&grads).unwrap());
    assert_near("mask", &added, &mask);
    let mean = mask.iter().sum::<f32>() / mask.len() as f32;
    assert!((mean - 1.0).abs() < 0.01, "{mean}");
    assert!(values(x.grad(&grads).unwrap()).iter().all(|g| *g == 1.0));
    let other = values(add_dropped(x.clone(), ones, Some(DropoutKey { rate: 0.25, key: 43 })) - x);
    assert_ne!(other, added);
}
