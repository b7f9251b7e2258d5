// Codes for the page: a scanner that types like a keyboard, wherever the focus is, and the unit's own scanner on a port.
"use strict";

const scan = {
  GAP_MS: 50, CHARS_MIN: 8, CHARS_MAX: 4296,

  // take(answer): what the code says, from the unit. wanted(): whether the page wants codes now.
  listen(take, wanted) {
    scan.keyboard((text) => { if (wanted()) unit.ask("/api/code", { text }).then(take).catch(() => {}); });
    if (document.body.hasAttribute("data-scanner")) scan.port(take, wanted);
  },

  // A scanner types a whole code within milliseconds and ends with Enter or Tab; a person does not. What it typed into a
  // field is taken out again, and its Enter sends no form.
  keyboard(read) {
    let burst = null;
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const soon = burst && event.timeStamp - burst.last <= scan.GAP_MS;
      if (event.key === "Enter" || event.key === "Tab") {
        if (soon && burst.text.length >= scan.CHARS_MIN) {
          event.preventDefault(); event.stopPropagation();
          if (burst.field && burst.field.isConnected) burst.field.value = burst.before;
          read(burst.text);
        }
        burst = null;
        return;
      }
      if (event.key.length !== 1) return;
      if (!soon) {
        const field = document.activeElement && "value" in document.activeElement && document.activeElement.matches("input[type=text], select, textarea") ? document.activeElement : null;
        burst = { text: "", field, before: field ? field.value : "", last: 0 };
      } else if (event.key === " " || !burst.field) event.preventDefault();
      burst.text = (burst.text + event.key).slice(0, scan.CHARS_MAX);
      burst.last = event.timeStamp;
    }, true);
  },

  async port(take, wanted) {
    for (;;) {
      if (!wanted()) { await unit.pause(500); continue; }
      try {
        const answer = await fetch("/api/code?wait_s=15", { credentials: "same-origin" });
        if (answer.status === 200) { const found = await answer.json(); if (wanted()) take(found); }
        else if (answer.status !== 204) await unit.pause(5000);
      } catch { await unit.pause(5000); }
    }
  },

  // Put the code's person into the form, or let one be chosen, or say why there is none.
  into(field, notes, choose) {
    const enter = (person) => {
      unit.at(field).value = person.nik;
      unit.fill(notes, unit.note("good", "tick", `Terbaca: ${person.name}`, `Scanned: ${person.name}`));
    };
    return (found) => {
      if (found.people.length === 1) enter(found.people[0]);
      else if (found.people.length) choose(found, enter);
      else unit.fill(notes, unit.note("advice", "alert", found.message_id, found.message_en));
    };
  },

  choose(found, enter) {
    const box = unit.make("dialog", {}, unit.make("div", { class: "stack" }, unit.make("h2", {}, found.message_id), unit.make("p", { class: "en", lang: "en" }, found.message_en),
      unit.make("div", { class: "choices" }, ...found.people.map((person) => unit.button(person.name, person.nik, "", () => { box.close(); box.remove(); enter(person); })),
        unit.button("Kembali", "Back", "quiet", () => { box.close(); box.remove(); }))));
    document.body.append(box);
    box.showModal();
  },
};
