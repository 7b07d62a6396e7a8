//! A URL and where it redirects to in, the next URL out, or why not to go there; and the ports on which it can end.
//!
//! Source: RFC 9110, section 10.2.2; RFC 3986, section 5.2. Invariant: a redirect never leads from https to http, and to
//! nothing but http and https.

/// What a redirect may lead to, absolute.
pub fn follow(url: &str, location: &str) -> Result<String, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("it starts at no URL")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let location = location.split('#').next().unwrap_or_default();
    if location.is_empty() || location.len() > 2048 || !location.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it is empty, too long or no URL");
    }
    if let Some(rest) = location.strip_prefix("//") {
        return Ok(format!("{scheme}://{rest}"));
    }
    if location.starts_with('/') {
        return Ok(format!("{scheme}://{authority}{location}"));
    }
    let Some((new, _)) = location.split_once(':').filter(|(new, _)| is_scheme(new)) else {
        // Beside the file that redirects.
        let path = rest[authority.len()..].split(['?', '#']).next().unwrap_or_default();
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        return Ok(format!("{scheme}://{authority}{folder}{location}"));
    };
    match (scheme.to_ascii_lowercase().as_str(), new.to_ascii_lowercase().as_str()) {
        ("http", "http" | "https") | ("https", "https") => Ok(location.to_owned()),
        ("https", "http") => Err("it leads from https to http"),
        _ => Err("it leads to something else than http and https"),
    }
}

/// The TCP ports that requests for `url` may lead to: its own, and those of the schemes that it may be redirected to. None of a
/// URL that is no such.
pub fn ports(url: &str) -> Vec<u16> {
    let Some((scheme, rest)) = url.split_once("://") else { return Vec::new() };
    let schemes: &[u16] = match scheme.to_ascii_lowercase().as_str() {
        "http" => &[80, 443],
        "https" => &[443],
        _ => return Vec::new(),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An address of IPv6 has colons of its own, within brackets.
    let host = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
    let own = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    own.into_iter().filter(|port| !schemes.contains(port)).chain(schemes.iter().copied()).collect()
}

fn is_scheme(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn redirects_lead_where_the_rules_say() {
        let cases = [
            ("http://h/a/b", "https://g/x", Ok("https://g/x")),
            ("http://h/a/b", "//g/x", Ok("http://g/x")),
            ("http://h:1/a/b?q", "/x", Ok("http://h:1/x")),
            ("http://h/a/b?q/r", "x#y", Ok("http://h/a/x")),
            ("http://h", "x", Ok("http://h/x")),
            ("http://h/", "x:y", Err("it leads to something else than http and https")),
            ("https://h/", "HTTP://h/", Err("it leads from https to http")),
            ("http://h/", "file:///etc/passwd", Err("it leads to something else than http and https")),
            ("http://h/", "", Err("it is empty, too long or no URL")),
            ("http://h/", "/a b", Err("it is empty, too long or no URL")),
        ];
        for (url, location, wanted) in cases {
            assert_eq!(follow(url, location), wanted.map(str::to_owned), "{url} {location}");
        }
    }

    #[test]
    fn a_request_may_end_on_its_own_port_and_on_those_of_redirects() {
        let cases: [(&str, &[u16]); 9] = [
            ("https://h/a:1/b", &[443]),
            ("HTTPS://h:8443/a", &[8443, 443]),
            ("https://h:443", &[443]),
            ("http://h", &[80, 443]),
            ("http://user:9@h:8080?a:7", &[8080, 80, 443]),
            ("https://[::1]", &[443]),
            ("https://[::1]:8443/", &[8443, 443]),
            ("file:///data/stick:7", &[]),
            ("h:80", &[]),
        ];
        for (url, wanted) in cases {
            assert_eq!(ports(url), wanted, "{url}");
        }
    }

    proptest! {
        #[test]
        fn https_stays_https(location in "[hHtTpPsS:/.a#?@]{0,24}") {
            if let Ok(next) = follow("https://h/a/b", &location) {
                prop_assert!(next.to_ascii_lowercase().starts_with("https:"), "{}", next);
            }
        }
    }
}
