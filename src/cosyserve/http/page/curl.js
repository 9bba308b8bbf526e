/** The command that asks for the same speech. */

/** What a download in this format is called. */
export function fileName(format) {
  return `speech.${format}`;
}

/**
 * For a POSIX shell. fields: as `speak` takes them; a file is named as the reader has it, in the folder that the
 * command runs in. The key itself stays out: commands end up in histories and chats.
 */
export function curlLine(address, fields, withKey) {
  const words = ["curl --fail"];
  if (withKey) words.push('-H "Authorization: Bearer $COSYSERVE_API_KEY"');
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) words.push(`-F ${quoted(`${name}=@"${value.name.replace(/[\\"]/g, "\\$&")}"`)}`);
    // Unlike -F, it takes a text that begins with @ or < as it is.
    else words.push(`--form-string ${quoted(`${name}=${value}`)}`);
  }
  words.push(`--output ${fileName(fields.format)}`, quoted(address));
  return words.join(" ");
}

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
