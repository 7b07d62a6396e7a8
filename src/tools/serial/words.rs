//! What is typed to the shell, and what its answers mean: text in, text out.
//!
//! Invariant: no line that is typed contains a mark as the answer spells it, so an echo is never taken for an answer; what
//! is typed has no words but ours.

use std::path::Path;

/// What the device must have, beside a POSIX shell.
const PROGRAMS: &str = "stty head base64 dd sha256sum gunzip mkdir";
/// After so long a silence the device gives up what it is being sent, in tenths of a second.
pub const SILENCE: u8 = 10;

/// One question, and how its answers begin: `@` and 16 hexadecimal digits, of which no two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub session: u32,
    pub number: u32,
}

/// What a line of the device means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The device waits for what is to be sent.
    Ready,
    /// From here on comes Base64.
    Begin,
    /// A line of what is followed.
    Line(String),
    /// The last word on the question.
    Answer(String),
    /// Everything else: echo, prompts, the kernel, answers that arrived damaged.
    Noise,
}

impl Mark {
    /// The printing of `sign` and `value`, which the shell expands, after the mark.
    fn says(self, sign: char, value: &str) -> String {
        format!("printf '\\n%s%s\\n' '@{:08x}' \"{:08x}{sign}{value}\"", self.session, self.number)
    }

    /// An answer, twice, for a word of the kernel may fall into one of them.
    fn answers(self, value: &str) -> String {
        let words = format!("'@{:08x}' \"{:08x}={value}.\"", self.session, self.number);
        format!("printf '\\n%s%s\\n' {words} {words}")
    }

    pub fn reads(self, line: &str) -> Said {
        let mark = format!("@{:08x}{:08x}", self.session, self.number);
        let Some((before, rest)) = line.split_once(&mark) else { return Said::Noise };
        let mut characters = rest.chars();
        match (characters.next(), characters.as_str()) {
            (Some('>'), "") => Said::Ready,
            (Some('<'), "") => Said::Begin,
            (Some(':'), text) if before.is_empty() => Said::Line(text.to_owned()),
            (Some('='), value) => match value.strip_suffix('.') {
                Some(value) if value.chars().all(|c| c.is_ascii_alphanumeric() || " -_".contains(c)) => {
                    Said::Answer(value.to_owned())
                }
                _ => Said::Noise,
            },
            _ => Said::Noise,
        }
    }

    /// Brings the terminal to order; answers `ok`, or what the device does not have.
    pub fn hello(self) -> String {
        format!(
            "(stty sane -echo;m=;for p in {PROGRAMS};do type $p >/dev/null 2>&1||m=\"$m $p\";done;{})",
            self.answers("${m:-ok}")
        )
    }

    /// Makes our folder, which nobody else looks into; answers 0.
    pub fn folder(self, folder: &str) -> String {
        format!("(umask 077;mkdir -p {folder};{})", self.answers("$?"))
    }

    /// Takes `sent_bytes` of Base64 as part `index` of the file; answers the SHA-256 of that part as it lies there.
    pub fn receive(self, file: &str, index: usize, part_bytes: usize, sent_bytes: usize) -> String {
        let ready = self.says('>', "");
        format!(
            "(stty raw -echo min 0 time {SILENCE};{ready};head -c {sent_bytes}|base64 -d 2>/dev/null|dd of={file} \
             bs={part_bytes} seek={index} 2>/dev/null;stty sane -echo;r=$(dd if={file} bs={part_bytes} skip={index} \
             2>/dev/null|sha256sum);{})",
            self.answers("${r%% *}")
        )
    }

    /// Runs the script, which reads what the compressed file has, or nothing, and sends what it said; answers its status and
    /// the SHA-256 of that.
    pub fn run(self, script: &str, input: Option<&str>, said: &str) -> String {
        let run = match input {
            Some(file) => format!("gunzip -c <{file}|sh {script}"),
            None => format!("sh {script} </dev/null"),
        };
        format!("({run} >{said} 2>&1;s=$?;{})", self.sends("$s", said))
    }

    /// Sends the file once more; answers `again` and its SHA-256.
    pub fn fetch(self, said: &str) -> String {
        format!("({})", self.sends("again", said))
    }

    fn sends(self, word: &str, said: &str) -> String {
        let (begin, end) = (self.says('<', ""), self.answers(&format!("{word} ${{r%% *}}")));
        format!("{begin};base64 <{said};r=$(sha256sum <{said});{end}")
    }

    /// Runs the script and shows each line of it as it comes; answers its status, for which there is a file.
    pub fn follow(self, script: &str, status: &str) -> String {
        let line = format!("printf '%s%s\\n' '@{:08x}' \"{:08x}:$l\"", self.session, self.number);
        format!(
            "(printf '\\n';{{ sh {script} </dev/null 2>&1;echo $? >{status};}}|while IFS= read -r l;do {line};done;r=$(cat {status});{})",
            self.answers("$r")
        )
    }
}

/// Leaves the terminal as a person wants it, and nothing of ours.
pub fn farewell(folder: &str) -> String {
    format!("(stty sane;rm -rf {folder})\n")
}

/// Whether a line may be one of Base64.
pub fn is_base64(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
}

/// Whether this is where somebody is asked who they are.
pub fn is_login(line: &str) -> bool {
    let line = line.trim_end();
    line.ends_with("login:") || line.ends_with("assword:")
}

/// A file of ours on the device.
pub fn place(folder: &str, name: &str) -> String {
    Path::new(folder).join(name).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARK: Mark = Mark { session: 0xdead_beef, number: 7 };
    /// A shell's line editor and a terminal's line buffer take more.
    const LINE_LIMIT_BYTES: usize = 1000;
    const SPELT: &str = "@deadbeef00000007";

    fn all() -> Vec<String> {
        let file = "/run/osbuild-serial/input";
        vec![
            MARK.hello(),
            MARK.folder("/run/osbuild-serial"),
            MARK.receive(file, 100_000, 16 << 10, 1 << 16),
            MARK.run(file, Some(file), file),
            MARK.fetch(file),
            MARK.follow(file, file),
            farewell("/run/osbuild-serial"),
        ]
    }

    #[test]
    fn what_is_typed_is_short_and_its_echo_no_answer() {
        for line in all() {
            assert!(line.len() < LINE_LIMIT_BYTES && !line.contains(SPELT), "{line}");
            assert_eq!(MARK.reads(&line), Said::Noise);
        }
    }

    #[test]
    fn an_answer_is_one_only_whole_and_of_this_question() {
        let reads = |text: &str| MARK.reads(&text.replace('M', SPELT));
        assert_eq!(reads("M>"), Said::Ready);
        assert_eq!(reads("# M<"), Said::Begin);
        assert_eq!(reads("M:a line = it."), Said::Line("a line = it.".to_owned()));
        assert_eq!(reads("M=0 ab12."), Said::Answer("0 ab12".to_owned()));
        for noise in ["M=0", "M=0[    1.2] usb 1-1.", "M", "M>x", "[ 1.2] M:line", "@deadbeef00000006=0.", "0."] {
            assert_eq!(reads(noise), Said::Noise, "{noise}");
        }
    }

    #[test]
    fn a_login_prompt_is_known() {
        assert!(is_login("gateway login: ") && is_login("Password:") && !is_login("gateway:~# "));
    }

    proptest! {
        #[test]
        fn any_line_has_a_meaning(line in any::<String>(), sign in "[<>=:]?", at in 0_usize..40) {
            let _ = MARK.reads(&line);
            let mut text = line;
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.insert_str(at, &format!("{SPELT}{sign}"));
            if let Said::Answer(value) = MARK.reads(&text) {
                prop_assert!(value.is_ascii());
            }
        }
    }
}
