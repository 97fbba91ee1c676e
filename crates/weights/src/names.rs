//! Names that no tensor has.

/// Longer than any module tree is deep.
const MAX_NAME_BYTES: usize = 65_535;

/// Why a tensor cannot be called so: names end up in messages and in files of other tools, and a hostile one is no use.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME_BYTES {
        let len = name.len();
        return Err(format!(
            "its name has {len} bytes, of which {MAX_NAME_BYTES} are allowed"
        ));
    }
    if name.contains('\0') || name.split(['/', '\\']).any(|part| part == "..") {
        return Err("its name leads out of a folder or holds a NUL".into());
    }
    Ok(())
}
