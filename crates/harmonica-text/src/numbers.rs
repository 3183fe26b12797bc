//! Numbers to English words.

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [(u64, &str); 5] = [
    (1_000_000_000_000_000, "quadrillion"),
    (1_000_000_000_000, "trillion"),
    (1_000_000_000, "billion"),
    (1_000_000, "million"),
    (1_000, "thousand"),
];

/// A whole number as words: 1234 is "one thousand two hundred thirty four".
pub(crate) fn cardinal(n: u64) -> String {
    if n < 20 {
        return ONES[n as usize].to_owned();
    }
    if n < 100 {
        let tens = TENS[(n / 10) as usize];
        return if n.is_multiple_of(10) {
            tens.to_owned()
        } else {
            format!("{tens} {}", ONES[(n % 10) as usize])
        };
    }
    let (unit, name) = if n < 1000 {
        (100, "hundred")
    } else {
        SCALES.into_iter().find(|(s, _)| n >= *s).unwrap_or((1000, "thousand"))
    };
    let head = format!("{} {name}", cardinal(n / unit));
    if n.is_multiple_of(unit) { head } else { format!("{head} {}", cardinal(n % unit)) }
}

/// Digits one by one; used where a number has no value (long codes, decimals).
pub(crate) fn digits(text: &str) -> String {
    let words: Vec<&str> = text.chars().filter_map(|c| c.to_digit(10)).map(|d| ONES[d as usize]).collect();
    words.join(" ")
}

/// A place in an order: 21 is "twenty first".
pub(crate) fn ordinal(n: u64) -> String {
    let words = cardinal(n);
    let (head, last) = words.rsplit_once(' ').map_or(("", words.as_str()), |(h, l)| (h, l));
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        other => match other.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{other}th"),
        },
    };
    if head.is_empty() { last } else { format!("{head} {last}") }
}

/// A year as it is read aloud: 1984 is "nineteen eighty four", 2005 "two thousand five".
pub(crate) fn year(n: u64) -> String {
    let (century, rest) = (n / 100, n % 100);
    match rest {
        _ if !(1100..2100).contains(&n) || (2000..2010).contains(&n) => cardinal(n),
        0 => format!("{} hundred", cardinal(century)),
        1..=9 => format!("{} oh {}", cardinal(century), cardinal(rest)),
        _ => format!("{} {}", cardinal(century), cardinal(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_read_them() {
        for (n, words) in [
            (0, "zero"),
            (13, "thirteen"),
            (40, "forty"),
            (99, "ninety nine"),
            (100, "one hundred"),
            (1_001, "one thousand one"),
            (1_234, "one thousand two hundred thirty four"),
            (2_000_017, "two million seventeen"),
        ] {
            assert_eq!(cardinal(n), words);
        }
        for (n, words) in
            [(1, "first"), (12, "twelfth"), (20, "twentieth"), (33, "thirty third"), (100, "one hundredth")]
        {
            assert_eq!(ordinal(n), words);
        }
        for (n, words) in [
            (1984, "nineteen eighty four"),
            (1900, "nineteen hundred"),
            (1905, "nineteen oh five"),
            (2005, "two thousand five"),
            (2024, "twenty twenty four"),
        ] {
            assert_eq!(year(n), words);
        }
    }

    #[test]
    fn every_number_is_spelled_with_letters() {
        for n in [u64::MAX, 1_000_000_000_000_000_000, 999_999] {
            assert!(cardinal(n).chars().all(|c| c.is_ascii_lowercase() || c == ' '));
        }
    }
}
