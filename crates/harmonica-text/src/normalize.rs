//! English text as it is spoken: lower case, spelled-out numbers, ASCII punctuation.
//!
//! Works token by token between white space, so that an abbreviation is only ever replaced as a whole word ("St."
//! never touches "first.").

use crate::numbers::{cardinal, digits, ordinal, year};
use unicode_normalization::UnicodeNormalization;

/// Version of the rules below; part of every contract and cache fingerprint.
pub const NORMALIZER_VERSION: &str = "english-1";

/// Abbreviations that end with a full stop, and what they stand for.
const ABBREVIATIONS: [(&str, &str); 22] = [
    ("mr.", "mister"),
    ("mrs.", "missus"),
    ("ms.", "miss"),
    ("dr.", "doctor"),
    ("st.", "saint"),
    ("prof.", "professor"),
    ("gen.", "general"),
    ("capt.", "captain"),
    ("lt.", "lieutenant"),
    ("col.", "colonel"),
    ("sgt.", "sergeant"),
    ("rev.", "reverend"),
    ("hon.", "honorable"),
    ("jr.", "junior"),
    ("sr.", "senior"),
    ("co.", "company"),
    ("ltd.", "limited"),
    ("vs.", "versus"),
    ("etc.", "et cetera"),
    ("e.g.", "for example"),
    ("i.e.", "that is"),
    ("no.", "no."),
];

const UNITS: [(&str, &str, &str); 12] = [
    ("km", "kilometer", "kilometers"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("kg", "kilogram", "kilograms"),
    ("mg", "milligram", "milligrams"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("ft", "foot", "feet"),
    ("mph", "mile per hour", "miles per hour"),
    ("khz", "kilohertz", "kilohertz"),
    ("hz", "hertz", "hertz"),
    ("ms", "millisecond", "milliseconds"),
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Spells a text out as it is spoken. Idempotent; the result holds lower-case ASCII letters, spaces and the
/// punctuation `. , ! ? ; : ' " -` only, unless the text holds letters of other scripts, which stay for the tokenizer
/// to refuse by name.
pub fn normalize(text: &str) -> String {
    let mut spoken = spell_out(text);
    // What one rule leaves ("+Dr." becomes "plus dr.") another one may still have to spell out.
    loop {
        let again = spell_out(&spoken);
        if again == spoken {
            return spoken;
        }
        spoken = again;
    }
}

fn spell_out(text: &str) -> String {
    // ASCII is what it is in every normal form.
    let text: String = if text.is_ascii() {
        text.chars().map(plain_character).collect()
    } else {
        text.nfkc().map(plain_character).collect()
    };
    let lower = text.to_lowercase();
    // Accents are dropped: the vocabulary is English.
    let unaccented: String = if lower.is_ascii() {
        lower
    } else {
        lower.nfd().filter(|c| !('\u{300}'..='\u{36f}').contains(c)).collect()
    };
    let tokens: Vec<&str> = unaccented.split_whitespace().collect();
    let mut words = Vec::with_capacity(tokens.len());
    for (i, token) in tokens.iter().enumerate() {
        let context =
            Context { previous: i.checked_sub(1).map(|p| tokens[p]), next: tokens.get(i + 1).copied() };
        let spoken = speak_token(token, &context);
        if !spoken.is_empty() {
            words.push(spoken);
        }
    }
    words.join(" ")
}

struct Context<'a> {
    previous: Option<&'a str>,
    next: Option<&'a str>,
}

fn plain_character(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '`' | '\u{b4}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '(' | ')' | '[' | ']' | '{' | '}' | '\u{a0}' => ' ',
        '/' | '\\' | '_' | '|' | '~' | '*' | '<' | '>' | '^' => ' ',
        c if c.is_control() => ' ',
        c => c,
    }
}

fn speak_token(token: &str, context: &Context<'_>) -> String {
    let opening = token.len() - token.trim_start_matches(['"', '\'', ',', '!', '?', ';', ':']).len();
    let (open, rest) = token.split_at(opening);
    let core = rest.trim_end_matches(['"', '\'', ',', '!', '?', ';', ':', '.']);
    let (core, close) = rest.split_at(core.len());
    let (mut core, mut close) = (core.to_owned(), close.to_owned());
    // The full stop of an abbreviation belongs to the word.
    if let Some(stripped) = close.strip_prefix('.') {
        let with_stop = format!("{core}.");
        if let Some((_, spoken)) = ABBREVIATIONS.iter().find(|(short, _)| *short == with_stop) {
            if with_stop == "no." {
                // "no." is a number's name only before a number; elsewhere it ends a sentence.
                if context.next.is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit())) {
                    (core, close) = ("number".into(), stripped.into());
                }
            } else {
                (core, close) = ((*spoken).to_owned(), stripped.into());
            }
        }
    }
    let spoken = speak_core(&core, context);
    format!("{open}{spoken}{close}")
}

fn speak_core(core: &str, context: &Context<'_>) -> String {
    if core.is_empty() || core.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '\'' | '-')) {
        return core.to_owned();
    }
    speak_money(core)
        .or_else(|| speak_percent(core))
        .or_else(|| speak_time(core))
        .or_else(|| speak_ordinal(core))
        .or_else(|| speak_decade(core))
        .or_else(|| speak_with_unit(core))
        .or_else(|| speak_number(core, context))
        .unwrap_or_else(|| speak_mixed(core))
}

/// Money with one currency sign before the amount.
fn speak_money(core: &str) -> Option<String> {
    let sign = core.chars().next()?;
    let (unit, units, part, parts) = match sign {
        '$' => ("dollar", "dollars", "cent", "cents"),
        '\u{20ac}' => ("euro", "euros", "cent", "cents"),
        '\u{a3}' => ("pound", "pounds", "penny", "pence"),
        _ => return None,
    };
    let amount = &core[sign.len_utf8()..];
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let whole = whole_number(whole)?;
    let name = |n: u64| format!("{} {}", cardinal(n), if n == 1 { unit } else { units });
    if fraction.len() == 2 {
        let cents: u64 = fraction.parse().ok()?;
        let part_words = format!("{} {}", cardinal(cents), if cents == 1 { part } else { parts });
        return Some(match (whole, cents) {
            (n, 0) => name(n),
            (0, _) => part_words,
            (n, _) => format!("{} and {part_words}", name(n)),
        });
    }
    match fraction {
        "" => Some(name(whole)),
        f if f.chars().all(|c| c.is_ascii_digit()) => {
            Some(format!("{} point {} {units}", cardinal(whole), digits(f)))
        }
        _ => None,
    }
}

fn speak_percent(core: &str) -> Option<String> {
    Some(format!("{} percent", decimal(core.strip_suffix('%')?)?))
}

/// Clock times such as 10:30 and 7:05pm.
fn speak_time(core: &str) -> Option<String> {
    let (clock, half) = match (core.strip_suffix("am"), core.strip_suffix("pm")) {
        (Some(clock), _) => (clock, " a m"),
        (_, Some(clock)) => (clock, " p m"),
        _ => (core, ""),
    };
    let (hours, minutes) = match clock.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes.parse::<u64>().ok()?),
        None if !half.is_empty() => (clock, 0),
        _ => return None,
    };
    let hours = plain_digits(hours)?.parse::<u64>().ok()?;
    if hours > 24 || minutes > 59 {
        return None;
    }
    let minutes = match minutes {
        0 if half.is_empty() => " o'clock".to_owned(),
        0 => String::new(),
        1..=9 => format!(" oh {}", cardinal(minutes)),
        _ => format!(" {}", cardinal(minutes)),
    };
    Some(format!("{}{minutes}{half}", cardinal(hours)))
}

fn speak_ordinal(core: &str) -> Option<String> {
    let stem = ["st", "nd", "rd", "th"].iter().find_map(|suffix| core.strip_suffix(suffix))?;
    Some(ordinal(whole_number(stem)?))
}

/// Decades such as 1980s.
fn speak_decade(core: &str) -> Option<String> {
    let stem = core.strip_suffix("'s").or_else(|| core.strip_suffix('s'))?;
    let n: u64 = plain_digits(stem)?.parse().ok()?;
    if stem.len() != 4 || !n.is_multiple_of(10) {
        return None;
    }
    let words = year(n);
    Some(match words.strip_suffix('y') {
        Some(head) => format!("{head}ies"),
        None => format!("{words}s"),
    })
}

fn speak_with_unit(core: &str) -> Option<String> {
    let split = core.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = core.split_at(split);
    let (_, one, many) = UNITS.iter().find(|(short, ..)| *short == unit)?;
    Some(format!("{} {}", decimal(number)?, if number == "1" { one } else { many }))
}

fn speak_number(core: &str, context: &Context<'_>) -> Option<String> {
    if let Some(rest) = core.strip_prefix('-') {
        return Some(format!("minus {}", decimal(rest)?));
    }
    if let Some(n) = plain_digits(core).filter(|d| d.len() == 4).and_then(|d| d.parse::<u64>().ok())
        && (1100..2100).contains(&n)
        && looks_like_year(context)
    {
        return Some(year(n));
    }
    decimal(core)
}

fn looks_like_year(context: &Context<'_>) -> bool {
    let word = |w: &str| w.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    let cues = ["in", "since", "until", "before", "after", "by", "year", "of", "from", "circa"];
    context.previous.is_some_and(|p| {
        let p = word(p);
        cues.contains(&p.as_str())
            || MONTHS.contains(&p.as_str())
            // "March 3, 1984": a day stands between the month and the year.
            || (p.len() <= 2 && p.parse::<u64>().is_ok_and(|d| (1..=31).contains(&d)))
    })
}

/// Whatever is left: runs of letters stay, runs of digits are read, signs are named or dropped.
fn speak_mixed(core: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut run = String::new();
    let mut run_is_number = false;
    let flush = |run: &mut String, is_number: bool, out: &mut Vec<String>| {
        if !run.is_empty() {
            let spoken = if is_number { decimal(run).unwrap_or_else(|| digits(run)) } else { run.clone() };
            out.push(spoken);
            run.clear();
        }
    };
    let characters: Vec<char> = core.chars().collect();
    for (i, &c) in characters.iter().enumerate() {
        let digit_next = characters.get(i + 1).is_some_and(char::is_ascii_digit);
        let is_number = c.is_ascii_digit() || (run_is_number && matches!(c, '.' | ',') && digit_next);
        let name = match c {
            '&' => Some("and"),
            '+' => Some("plus"),
            '=' => Some("equals"),
            '@' => Some("at"),
            '%' => Some("percent"),
            '#' => Some(if digit_next { "number" } else { "hash" }),
            '$' => Some("dollars"),
            '\u{20ac}' => Some("euros"),
            '\u{a3}' => Some("pounds"),
            '\u{b0}' => Some("degrees"),
            _ => None,
        };
        if let Some(name) = name {
            flush(&mut run, run_is_number, &mut out);
            out.push(name.to_owned());
            continue;
        }
        if is_number != run_is_number {
            flush(&mut run, run_is_number, &mut out);
            run_is_number = is_number;
        }
        // A hyphen between words and numbers ("covid-19", "10-12") is a pause, not a sign.
        if c == '-' && (digit_next || characters.get(i.wrapping_sub(1)).is_some_and(char::is_ascii_digit)) {
            flush(&mut run, run_is_number, &mut out);
            continue;
        }
        run.push(c);
    }
    flush(&mut run, run_is_number, &mut out);
    out.join(" ")
}

fn plain_digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).then_some(text)
}

/// Digits with optional, rightly placed thousands separators.
fn whole_number(text: &str) -> Option<u64> {
    if text.contains(',') {
        let mut groups = text.split(',');
        let first = groups.next()?;
        if first.is_empty() || first.len() > 3 || !groups.all(|g| g.len() == 3) {
            return None;
        }
    }
    plain_digits(&text.replace(',', ""))?.parse().ok()
}

/// A whole or decimal number; numbers with leading zeros and very long ones are read digit by digit.
fn decimal(text: &str) -> Option<String> {
    match text.split_once('.') {
        None => {
            let plain = text.replace(',', "");
            if plain_digits(&plain).is_some()
                && (plain.len() > 15 || (plain.len() > 1 && plain.starts_with('0')))
            {
                return Some(digits(&plain));
            }
            Some(cardinal(whole_number(text)?))
        }
        Some((whole, fraction)) => {
            plain_digits(fraction)?;
            let whole = if whole.is_empty() { "zero".to_owned() } else { cardinal(whole_number(whole)?) };
            Some(format!("{whole} point {}", digits(fraction)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_predecessors_failures_are_read_rightly() {
        for (text, spoken) in [
            ("the first. The last. The best.", "the first. the last. the best."),
            ("films.", "films."),
            ("$5", "five dollars"),
            ("10:30", "ten thirty"),
            ("1,234", "one thousand two hundred thirty four"),
            ("3.14", "three point one four"),
        ] {
            assert_eq!(normalize(text), spoken, "{text}");
        }
    }

    #[test]
    fn everyday_english_is_spelled_out() {
        for (text, spoken) in [
            ("Dr. Smith met Mrs. Jones.", "doctor smith met missus jones."),
            ("It cost $1,250.50!", "it cost one thousand two hundred fifty dollars and fifty cents!"),
            ("$0.01", "one cent"),
            ("\u{a3}3 or \u{20ac}2.5", "three pounds or two point five euros"),
            ("7:05pm, 8am", "seven oh five p m, eight a m"),
            ("9:00", "nine o'clock"),
            ("the 21st of May, 1984", "the twenty first of may, nineteen eighty four"),
            ("in 2005", "in two thousand five"),
            ("1984 apples", "one thousand nine hundred eighty four apples"),
            ("the 1980s", "the nineteen eighties"),
            ("50% off", "fifty percent off"),
            ("-3 degrees", "minus three degrees"),
            ("No. 7", "number seven"),
            ("I said no.", "i said no."),
            ("5 km, 10kg", "five km, ten kilograms"),
            ("agent 007", "agent zero zero seven"),
            ("covid-19", "covid nineteen"),
            ("R2D2", "r two d two"),
            ("AT&T", "at and t"),
            ("\u{201c}Caf\u{e9}\u{201d} \u{2014} na\u{ef}ve", "\"cafe\" - naive"),
            ("and/or", "and or"),
            ("0.5", "zero point five"),
            (
                "12345678901234567890",
                "one two three four five six seven eight nine zero one two three four five six seven eight nine zero",
            ),
        ] {
            assert_eq!(normalize(text), spoken, "{text}");
        }
    }

    #[test]
    fn what_a_rule_leaves_is_spelled_out_too() {
        for (text, spoken) in [
            ("+Dr. Smith", "plus doctor smith"),
            ("St.5", "saint five"),
            ("Smith&Co. (&e.g. Jones)", "smith and company and for example jones"),
        ] {
            assert_eq!(normalize(text), spoken, "{text}");
        }
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(text in "(\\PC|[+#&@](dr|st|no|e\\.g)\\.|[0-9.,:$%+-]{1,6}){0,20}") {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once);
        }

        #[test]
        fn no_digit_survives(text in "\\PC{0,60}") {
            let spoken = normalize(&text);
            prop_assert!(!spoken.chars().any(|c| c.is_ascii_digit()), "{}", spoken);
        }
    }
}
