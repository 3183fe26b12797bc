//! Spectrograms as bitmaps and curves as SVG, without a library or a script.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harmonica_audio::{MelFilterbank, Stft, Waveform, mel_spectrogram};

const N_MELS: usize = 64;

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// An 8-bit grey bitmap; `darkness` of a column and a row, from the bottom, between 0 and 1.
fn grey_bmp(width: usize, height: usize, darkness: impl Fn(usize, usize) -> f32) -> Vec<u8> {
    let row_bytes = width.next_multiple_of(4);
    let mut pixels = vec![255_u8; row_bytes * height];
    for (row, line) in pixels.chunks_exact_mut(row_bytes.max(1)).enumerate() {
        for (column, pixel) in line.iter_mut().take(width).enumerate() {
            *pixel = (255.0 * (1.0 - darkness(column, row).clamp(0.0, 1.0))) as u8;
        }
    }
    let data_at = 14 + 40 + 1024_u32;
    let mut bmp = b"BM".to_vec();
    for word in [data_at + pixels.len() as u32, 0, data_at, 40, width as u32, height as u32] {
        bmp.extend(word.to_le_bytes());
    }
    bmp.extend([1, 0, 8, 0]);
    for word in [0_u32, pixels.len() as u32, 2835, 2835, 256, 0] {
        bmp.extend(word.to_le_bytes());
    }
    bmp.extend((0..=255_u8).flat_map(|g| [g, g, g, 0]));
    bmp.extend(pixels);
    bmp
}

/// A log-mel spectrogram, low frequencies at the bottom, loud parts dark.
pub(crate) fn spectrogram_bmp(waveform: &Waveform) -> Vec<u8> {
    let rate = waveform.sample_rate_hz();
    let stft = Stft::new(1024, 640, (rate / 100) as usize);
    let filters = MelFilterbank::new(N_MELS, stft.n_bins(), rate, 40.0, f64::from(rate) * 0.48);
    let mel = mel_spectrogram(waveform, &stft, &filters);
    let (low, high) = mel.values.iter().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    grey_bmp(mel.n_frames(), N_MELS, |frame, band| {
        (mel.values[frame * N_MELS + band] - low) / (high - low).max(1e-6)
    })
}

/// What was looked at in the text, a row a frame, as a bitmap: time from left to right, the text from the bottom up.
pub fn alignment_bmp(rows: &[Vec<f32>]) -> Vec<u8> {
    let n_symbols = rows.first().map_or(0, Vec::len);
    let most = rows.iter().flatten().copied().fold(1e-6, f32::max);
    grey_bmp(rows.len(), n_symbols, |frame, symbol| rows[frame][symbol] / most)
}

/// A table of cells, light where the value is low: one row a name, one column an update. The values stand in tooltips.
pub(crate) fn heat_map_svg(title: &str, columns: &[u64], rows: &[(String, Vec<f64>)]) -> String {
    if columns.is_empty() || rows.is_empty() {
        return String::new();
    }
    let (left, cell_height, top) = (96.0, 18.0, 22.0);
    let cell_width = (640.0 - left) / columns.len() as f64;
    let height = top + cell_height * rows.len() as f64 + 18.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 640 {height}\" role=\"img\" aria-label=\"{title}\"><text x=\"0\" y=\"14\" font-weight=\"bold\">{title}</text>"
    );
    for (r, (name, values)) in rows.iter().enumerate() {
        let y = top + cell_height * r as f64;
        svg.push_str(&format!("<text x=\"0\" y=\"{:.1}\">{name}</text>", y + 13.0));
        for (c, (value, update)) in values.iter().zip(columns).enumerate() {
            let share = value.clamp(0.0, 1.0);
            svg.push_str(&format!(
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{cell_height}\" fill=\"hsl(205,65%,{:.0}%)\"><title>{name}, {update} updates: {value:.3}</title></rect>",
                left + cell_width * c as f64,
                cell_width + 0.2,
                96.0 - 66.0 * share
            ));
        }
    }
    let (first, last) = (columns[0], columns[columns.len() - 1]);
    svg + &format!(
        "<text x=\"{left}\" y=\"{0:.1}\">{first}</text><text x=\"640\" y=\"{0:.1}\" text-anchor=\"end\">{last} updates</text></svg>",
        height - 4.0
    )
}

/// A line chart: named series of (x, y), and vertical marks with their names.
pub(crate) fn chart_svg(title: &str, series: &[(String, Vec<(f64, f64)>)], marks: &[(f64, &str)]) -> String {
    let points = || series.iter().flat_map(|(_, p)| p.iter());
    if points().next().is_none() {
        return String::new();
    }
    let bound = |pick: fn(&(f64, f64)) -> f64| {
        points().map(pick).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)))
    };
    let ((x0, x1), (y0, y1)) = (bound(|p| p.0), bound(|p| p.1));
    let (width, height, left, bottom) = (640.0, 240.0, 52.0, 26.0);
    // Halves, because the distance of two finite numbers need not be finite.
    let share = |v: f64, low: f64, high: f64| (v / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0).max(5e-10);
    let x = |v: f64| left + share(v, x0, x1) * (width - left - 8.0);
    let y = |v: f64| 24.0 + (1.0 - share(v, y0, y1)) * (height - bottom - 30.0);
    let colours = ["#1b6ca8", "#c1440e", "#2d7d46", "#7b3fa0", "#8a6d00", "#444444"];
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\"><text x=\"{left}\" y=\"14\" font-weight=\"bold\">{title}</text>"
    );
    let step = y1 / 4.0 - y0 / 4.0;
    // As many decimals as tell the lines apart.
    let decimals = if step > 0.0 { (-step.log10()).ceil().clamp(2.0, 9.0) as usize } else { 2 };
    for i in 0..=4 {
        let value = y0 / 4.0 * f64::from(4 - i) + y1 / 4.0 * f64::from(i);
        svg.push_str(&format!(
            "<line x1=\"{left}\" x2=\"{width}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/><text x=\"4\" y=\"{1:.1}\">{value:.decimals$}</text>",
            y(value),
            y(value) + 4.0
        ));
    }
    svg.push_str(&format!("<text x=\"{left}\" y=\"{}\">{x0:.0}</text>", height - 8.0));
    svg.push_str(&format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{x1:.0} updates</text>",
        width - 8.0,
        height - 8.0
    ));
    for (at, name) in marks.iter().filter(|(at, _)| (x0..=x1).contains(at)) {
        svg.push_str(&format!(
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"20\" y2=\"{1}\" stroke=\"#888\" stroke-dasharray=\"4 3\"/><text x=\"{0:.1}\" y=\"{2}\" dx=\"-4\" text-anchor=\"end\" fill=\"#555\">{name}</text>",
            x(*at),
            height - bottom,
            height - bottom - 6.0
        ));
    }
    for (i, (name, values)) in series.iter().enumerate() {
        let colour = colours[i % colours.len()];
        let path: Vec<String> = values.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
        svg.push_str(&format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/><text x=\"{}\" y=\"{}\" fill=\"{colour}\" text-anchor=\"end\">{name}</text>",
            path.join(" "),
            width - 8.0,
            14.0 + 14.0 * i as f64
        ));
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn lines_across_a_chart_have_names_of_their_own_however_flat_the_curve_is() {
        for (low, high) in [(1.03, 1.05), (0.5, 6.5), (1e-7, 2e-7), (-3.0, 4e9), (f64::MIN, f64::MAX)] {
            let svg = chart_svg("flat", &[("a".into(), vec![(0.0, low), (9.0, high)])], &[]);
            let names: BTreeSet<&str> = svg
                .split("<text x=\"4\"")
                .skip(1)
                .filter_map(|text| text.split('>').nth(1)?.split('<').next())
                .collect();
            assert_eq!(names.len(), 5, "{low} to {high}: {names:?}");
        }
    }
}
