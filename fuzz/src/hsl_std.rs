//! What the fuzz targets of the decoders of `crates/hsl-std` do with their input.
//!
//! Plain functions, so that the corpus also runs as an ordinary test
//! (`crates/hsl-std/tests/fuzz_corpus.rs`). A broken promise panics.

use std::sync::{Arc, OnceLock};

use hsl::Program;
use hsl_std::Services;

use crate::scripts;

/// Each decoder takes the text or refuses it; what it made can be encoded and decoded again. The
/// first octet chooses the decoder.
pub(crate) fn decoders(input: &[u8]) {
    static PROGRAMS: OnceLock<Vec<Arc<Program>>> = OnceLock::new();
    let Some((choice, text)) = input.split_first() else { return };
    let programs = PROGRAMS.get_or_init(|| compile(&DECODERS));
    let index = usize::from(*choice) % (programs.len() + KINDS.len());
    match KINDS.get(index) {
        Some(kind) => drop(hsl_std::import::decode(kind, text, None, None)),
        None => run(&programs[index - KINDS.len()], text),
    }
}

/// Whoever reads certificates, revocation lists, keys and cryptographic messages takes the octets or
/// refuses them, and can say all of what it took. The first octet chooses the reader.
pub(crate) fn certificates(input: &[u8]) {
    static PROGRAMS: OnceLock<Vec<Arc<Program>>> = OnceLock::new();
    let Some((choice, text)) = input.split_first() else { return };
    let programs = PROGRAMS.get_or_init(|| compile(&CERTIFICATES));
    run(&programs[usize::from(*choice) % programs.len()], text);
}

fn compile(texts: &[&str]) -> Vec<Arc<Program>> {
    let services = Services::default();
    let compile = |text: &&str| scripts::compile(&services, |_| {}, &["input"], text);
    texts.iter().map(compile).collect()
}

fn run(program: &Arc<Program>, text: &[u8]) {
    scripts::run(program, vec![("input", text.into())], Vec::new());
}

/// Files that scripts import.
const KINDS: [&str; 4] = ["json", "csv", "yaml", "txt"];

/// New ones go to the end: seeds name them by number.
const DECODERS: [&str; 19] = [
    "$value = json_decode($input);
     if (is_array($value)) {
         $text = json_encode($value);
         if (is_string($text) and json_encode(json_decode($text)) != $text)
             throw \"json: a broken promise\";
     }",
    "base64_decode($input);
     if (base64_decode(base64_encode($input)) != $input) throw \"base64: a broken promise\";",
    "base32_decode($input);
     if (base32_decode(base32_encode($input)) != $input) throw \"base32: a broken promise\";",
    "url_decode($input);
     if (url_decode(url_encode($input)) != $input) throw \"url: a broken promise\";",
    "$format = $input[0:10];
     unpack($format, $input[10:]);
     unpack(\"N\", $input); unpack(\"H*\", $input); unpack(\"a*\", $input);",
    "csv_decode($input); csv_decode($input, [\"delimiter\" => \";\", \"header\" => false]);
     $fields = str_split($input, \"|\");
     $again = csv_decode(csv_encode($fields), [\"header\" => false]);
     // An empty line is no record, and a mark of the byte order no part of a text.
     if ($again !== [$fields] and $input != \"\" and $input[0:3] != \"\\xef\\xbb\\xbf\")
         throw \"csv: a broken promise\";",
    "base64url_decode($input);
     if (base64url_decode(base64url_encode($input)) != $input) throw \"base64url: a broken promise\";",
    "foreach ([15, 31, -15, 47] as $bits) zlib_uncompress($input, $bits);
     foreach ([15, 31, -15] as $bits)
         if (zlib_uncompress(zlib_compress($input, 1, $bits), $bits) != $input)
             throw \"zlib: a broken promise\";",
    "xtext_decode($input);
     if (xtext_decode(xtext_encode($input)) != $input) throw \"xtext: a broken promise\";
     mimeword_decode($input);",
    "yaml_decode($input, [\"tags\" => [\"!Map\" => function ($data) { return [$data]; }]]);",
    "header_dkim_decode($input); header_dkim_decode($input, [\"field\" => true]);
     $list = header_addresslist_extract($input, [\"name\" => true]);
     $plain = header_addresslist_extract($input);
     if (($list === none) != ($plain === none) or ($list !== none and length($list) != length($plain)))
         throw \"addresses: a broken promise\";",
    "$parts = envelope_address_parse($input);
     if (is_array($parts)) {
         $again = envelope_address_parse(envelope_localpart_escape($parts[\"localpart\"]) . \"@\" . $parts[\"domain\"]);
         if ($parts[\"domain\"] != \"\" and $again !== $parts) throw \"envelope: a broken promise\";
     }",
    "$ascii = idna_encode($input);
     if (is_string($ascii) and idna_encode($ascii) != $ascii) throw \"idna: a broken promise\";
     idna_decode($input); domain_includes($input, \"example.org\"); domain_publicsuffix($input);",
    "url_parse($input);",
    "$dn = LDAP::str2dn($input);
     if (is_array($dn) and LDAP::str2dn(LDAP::dn2str($dn)) !== $dn) throw \"dn: a broken promise\";
     $filter = LDAP::filter_escape($input);
     if ($filter =~ ''[*()]'') throw \"filter: a broken promise\";",
    "inet_pton($input); inet_reverse($input); inet_includes($input, \"192.0.2.0/24\");
     inet_includes(\"192.0.2.1\", $input); inet_includes(\"2001:db8::1\", $input);
     $text = inet_ntop($input);
     if (is_string($text) and inet_pton($text) !== $input) throw \"inet: a broken promise\";",
    "[$format, $text] = str_split($input, \"\\n\", 2);
     strptime($text ?? \"\", $format, [\"local\" => false]); strftime($input, 1616331909.5);
     strpduration($input);",
    "[$pattern, $text] = str_split($input, \"\\n\", 2);
     $regex = pcre_compile($pattern); $text = $text ?? \"\";
     $first = pcre_match($regex, $text); $all = pcre_match_all($regex, $text);
     if (length($first) > 0 and $all[0][0] !== $first[0]) throw \"regex: a broken promise\";
     pcre_replace($regex, \"<$0>\", $text);
     if (pcre_match(\"^\" . pcre_quote($text) . \"\\\\z\", $text) === [])
         throw \"quote: a broken promise\";",
    "[$from, $text] = str_split($input, \"\\n\", 2);
     $text = $text ?? \"\";
     Iconv(\"UTF-8\", \"UTF-16LE\")->convert($text); Iconv($from, \"UTF-8//IGNORE\")->convert($text);",
];

/// New ones go to the end: seeds name them by number.
const CERTIFICATES: [&str; 4] = [
    "foreach ([true, false] as $pem) {
         $list = X509::String($input, [\"pem\" => $pem, \"multiple\" => true]);
         foreach ($list ?? [] as $x) {
             [$x->subject(), $x->issuer(), $x->subject_alt_name(), $x->version(), $x->serial_number()];
             [$x->not_valid_before(), $x->not_valid_after(), $x->extensions()];
             $x->verify([$x->toResource()]);
             if (X509::String($x->export())->export() !== $x->export()) throw \"x509: a broken promise\";
             $x->public_key();
         }
     }",
    "foreach ([true, false] as $pem) {
         $x = X509CRL::String($input, [\"pem\" => $pem]);
         if ($x === none) continue;
         [$x->issuer(), $x->revoked(), $x->version(), $x->last_update(), $x->next_update()];
         $x->extensions();
         if (X509CRL::String($x->export())->export() !== $x->export()) throw \"crl: a broken promise\";
     }",
    "foreach ([rsa_privatekey($input), ec_privatekey($input), ed25519_privatekey($input)] as $key)
         if ($key !== none and is_rsa_privatekey($key) + is_ec_privatekey($key) + is_ed25519_privatekey($key) != 1)
             throw \"keys: a broken promise\";
     rsa_verify(\"m\", \"s\", $input); rsa_verify(\"m\", \"s\", $input, [\"format\" => \"SubjectPublicKeyInfo\"]);
     ed25519_verify(\"m\", \"s\", $input);",
    "cms_type($input);
     foreach ([[\"certs\" => []], [\"store\" => []]] as $certificates) {
         $result = cms_verify($input, none, $certificates);
         if ($result[\"result\"]) throw \"cms: a broken promise: nobody is trusted\";
         cms_verify($input, \"text\", $certificates, [\"detached\" => true]);
     }",
];
