//! The encoder and the decoder: convolutions, residual blocks and a long short-term memory in a row.
//!
//! In: a configuration and the tensors of a model. Out: networks that take and give rows `[T, C]`.
//! Invariant: layers bear the numbers of the reference implementation, where units of activation have numbers of their own; here they belong
//! to the layer after them.

use super::config::{EnCodecConfig, NormType};
use super::conv::{Conv, ConvShape};
use super::conv_transposed::{ConvTransposed, TransposedShape};
use super::layer::{LayerStream, TimeGroupNorm};
use super::lstm::{Lstm, LstmLayer};
use super::residual::Residual;
use super::rows::RowBuffer;
use super::weights::Weights;

#[derive(Debug, Clone)]
enum Layer {
    Conv(Conv),
    Transposed(ConvTransposed),
    Residual(Box<Residual>),
    Lstm(Lstm),
}

impl Layer {
    fn stream(&self) -> Box<dyn LayerStream + '_> {
        match self {
            Self::Conv(layer) => Box::new(layer.stream()),
            Self::Transposed(layer) => Box::new(layer.stream()),
            Self::Residual(layer) => Box::new(layer.stream()),
            Self::Lstm(layer) => Box::new(layer.stream()),
        }
    }
}

/// Half of the model.
#[derive(Debug, Clone)]
pub(crate) struct Seanet {
    /// With the number of each layer.
    layers: Vec<(usize, Layer)>,
}

/// Takes the layers of one half from the tensors of a model.
struct Builder<'a> {
    config: &'a EnCodecConfig,
    weights: &'a mut Weights,
    half: &'static str,
    layers: Vec<(usize, Layer)>,
    /// Number of the next layer.
    next: usize,
}

impl Builder<'_> {
    fn prefix(&self) -> String {
        format!("{}.layers.{}", self.half, self.next)
    }

    fn add(&mut self, layer: Layer) {
        self.layers.push((self.next, layer));
        self.next += 1;
    }

    fn shape(&self, channels_in: usize, channels_out: usize, kernel: usize) -> ConvShape {
        let (causal, pad_mode) = (self.config.use_causal_conv, self.config.pad_mode);
        ConvShape { channels_in, channels_out, kernel, stride: 1, dilation: 1, causal, pad_mode, elu: false }
    }

    fn norm(&mut self, prefix: &str, channels: usize) -> Result<Option<TimeGroupNorm>, String> {
        if self.config.norm_type == NormType::WeightNorm {
            return Ok(None);
        }
        let weight = self.weights.take(&format!("{prefix}.norm.weight"), &[channels])?;
        let bias = self.weights.take(&format!("{prefix}.norm.bias"), &[channels])?;
        Ok(Some(TimeGroupNorm { weight, bias }))
    }

    fn conv(&mut self, prefix: &str, shape: ConvShape) -> Result<Conv, String> {
        let ConvShape { channels_in, channels_out, kernel, .. } = shape;
        let weight =
            self.weights.take(&format!("{prefix}.conv.weight"), &[channels_out, channels_in, kernel])?;
        let bias = self.weights.take(&format!("{prefix}.conv.bias"), &[channels_out])?;
        Ok(Conv::new(shape, &weight, bias, self.norm(prefix, channels_out)?))
    }

    fn residuals(&mut self, channels: usize) -> Result<(), String> {
        let narrow = channels / self.config.compress;
        for i in 0..self.config.num_residual_layers {
            let prefix = self.prefix();
            let dilation = self.config.dilation_growth_rate.pow(i as u32);
            let first = self.shape(channels, narrow, self.config.residual_kernel_size);
            let first =
                self.conv(&format!("{prefix}.block.1"), ConvShape { dilation, elu: true, ..first })?;
            let second = ConvShape { elu: true, ..self.shape(narrow, channels, 1) };
            let second = self.conv(&format!("{prefix}.block.3"), second)?;
            let shortcut = if self.config.use_conv_shortcut {
                Some(self.conv(&format!("{prefix}.shortcut"), self.shape(channels, channels, 1))?)
            } else {
                None
            };
            self.add(Layer::Residual(Box::new(Residual { branch: [first, second], shortcut })));
        }
        Ok(())
    }

    fn lstm(&mut self, width: usize) -> Result<(), String> {
        let prefix = self.prefix();
        let mut layers = Vec::new();
        for i in 0..self.config.num_lstm_layers {
            let mut take =
                |name: &str, shape: &[usize]| self.weights.take(&format!("{prefix}.lstm.{name}_l{i}"), shape);
            let input = take("weight_ih", &[4 * width, width])?;
            let recurrent = take("weight_hh", &[4 * width, width])?;
            let biases = [take("bias_ih", &[4 * width])?, take("bias_hh", &[4 * width])?];
            layers.push(LstmLayer::new(width, &input, &recurrent, [&biases[0], &biases[1]]));
        }
        self.add(Layer::Lstm(Lstm { width, layers }));
        Ok(())
    }

    /// A convolution, after an activation that bears a number of its own.
    fn activated_conv(&mut self, shape: ConvShape) -> Result<(), String> {
        self.next += 1;
        let layer = self.conv(&self.prefix(), ConvShape { elu: true, ..shape })?;
        self.add(Layer::Conv(layer));
        Ok(())
    }

    fn activated_transposed(&mut self, channels: usize, ratio: usize) -> Result<(), String> {
        self.next += 1;
        let prefix = self.prefix();
        let (channels_out, kernel) = (channels / 2, 2 * ratio);
        let surplus = kernel - ratio;
        let trim_right = if self.config.use_causal_conv {
            (surplus as f64 * self.config.trim_right_ratio).ceil() as usize
        } else {
            surplus / 2
        };
        let weight =
            self.weights.take(&format!("{prefix}.conv.weight"), &[channels, channels_out, kernel])?;
        let bias = self.weights.take(&format!("{prefix}.conv.bias"), &[channels_out])?;
        let shape = TransposedShape {
            channels_in: channels,
            channels_out,
            kernel,
            stride: ratio,
            trim_right,
            elu: true,
        };
        let norm = self.norm(&prefix, channels_out)?;
        self.add(Layer::Transposed(ConvTransposed::new(shape, &weight, &bias, norm)));
        Ok(())
    }
}

impl Seanet {
    fn builder<'a>(config: &'a EnCodecConfig, weights: &'a mut Weights, half: &'static str) -> Builder<'a> {
        Builder { config, weights, half, layers: Vec::new(), next: 0 }
    }

    /// The network from samples to latents.
    pub(crate) fn encoder(config: &EnCodecConfig, weights: &mut Weights) -> Result<Self, String> {
        let mut builder = Self::builder(config, weights, "encoder");
        let mut channels = config.num_filters;
        let first = builder.shape(config.audio_channels, channels, config.kernel_size);
        let first = builder.conv(&builder.prefix(), first)?;
        builder.add(Layer::Conv(first));
        for ratio in config.upsampling_ratios.iter().rev() {
            builder.residuals(channels)?;
            let down = builder.shape(channels, 2 * channels, 2 * ratio);
            builder.activated_conv(ConvShape { stride: *ratio, ..down })?;
            channels *= 2;
        }
        builder.lstm(channels)?;
        builder.activated_conv(builder.shape(channels, config.hidden_size, config.last_kernel_size))?;
        Ok(Self { layers: builder.layers })
    }

    /// The network from latents to samples.
    pub(crate) fn decoder(config: &EnCodecConfig, weights: &mut Weights) -> Result<Self, String> {
        let mut builder = Self::builder(config, weights, "decoder");
        let mut channels = config.scale() * config.num_filters;
        let first = builder.shape(config.hidden_size, channels, config.kernel_size);
        let first = builder.conv(&builder.prefix(), first)?;
        builder.add(Layer::Conv(first));
        builder.lstm(channels)?;
        for ratio in &config.upsampling_ratios {
            builder.activated_transposed(channels, *ratio)?;
            channels /= 2;
            builder.residuals(channels)?;
        }
        builder.activated_conv(builder.shape(channels, config.audio_channels, config.last_kernel_size))?;
        Ok(Self { layers: builder.layers })
    }

    pub(crate) fn stream(&self) -> SeanetStream<'_> {
        SeanetStream {
            layers: self.layers.iter().map(|(_, layer)| layer.stream()).collect(),
            rows: [RowBuffer::default(), RowBuffer::default()],
        }
    }

    /// What each layer makes of rows, with the number of the layer.
    pub(crate) fn activations(&self, rows: &[f32]) -> Vec<(usize, Vec<f32>)> {
        let mut rows = rows.to_vec();
        let through = |(number, layer): &(usize, Layer)| {
            let (mut stream, mut out) = (layer.stream(), RowBuffer::default());
            stream.push(&rows, &mut out);
            stream.finish(&mut out);
            rows = out.to_vec();
            (*number, rows.clone())
        };
        self.layers.iter().map(through).collect()
    }
}

/// A network in the middle of a waveform.
pub(crate) struct SeanetStream<'a> {
    layers: Vec<Box<dyn LayerStream + 'a>>,
    /// What goes in and what comes out of the layer at hand; kept for their memory.
    rows: [RowBuffer; 2],
}

impl SeanetStream<'_> {
    /// Takes rows and appends those that are certain by now.
    pub(crate) fn push(&mut self, rows: &[f32], out: &mut Vec<f32>) {
        self.through(rows, out, |layer, rows, out| layer.push(rows, out));
    }

    /// Appends the rows that are left, and is as new again.
    pub(crate) fn finish(&mut self, out: &mut Vec<f32>) {
        self.through(&[], out, |layer, rows, out| {
            layer.push(rows, out);
            layer.finish(out);
        });
    }

    fn through(
        &mut self,
        rows: &[f32],
        out: &mut Vec<f32>,
        mut step: impl FnMut(&mut dyn LayerStream, &[f32], &mut RowBuffer),
    ) {
        let [given, made] = &mut self.rows;
        given.clear();
        given.extend_from_slice(rows);
        for layer in &mut self.layers {
            made.clear();
            step(layer.as_mut(), given, made);
            std::mem::swap(given, made);
        }
        out.extend_from_slice(given);
    }
}
