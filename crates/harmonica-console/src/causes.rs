//! An error and what caused it, as one message.

use std::error::Error;

/// The error's words, and in brackets those of each cause that they do not already hold.
pub fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !message.contains(&words) {
            message.push_str(&format!(" ({words})"));
        }
        cause = inner.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::{Display, Formatter};

    #[derive(Debug)]
    struct Outer(&'static str, std::io::Error);

    impl Display for Outer {
        fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn causes_are_told_once() {
        let cause = || std::io::Error::other("disk full");
        assert_eq!(with_causes(&Outer("cannot write `a`", cause())), "cannot write `a` (disk full)");
        assert_eq!(with_causes(&Outer("disk full at `a`", cause())), "disk full at `a`");
    }
}
