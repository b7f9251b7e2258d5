// The handover desk: draws whatever the snapshot says, and offers exactly its actions.
"use strict";

const LABELS = {
  read: ["Baca kartu", "Read the card", "primary"], confirm: ["Ya, semuanya benar", "Yes, everything is right", "primary"],
  dispute: ["Data tidak benar", "The data are not right", "danger"], settle: ["Sudah dibandingkan, lanjut", "Compared, go on", "primary"], capture: ["Cocokkan jari", "Match the finger", "primary"],
  other_finger: ["Jari lain", "Another finger", ""], section_head: ["Keputusan kepala seksi", "Section head decides", ""],
  returned: ["KTP lama sudah dikembalikan", "The old card is given back", "primary"], not_returned: ["Penduduk pergi tanpa KTP lama", "The resident left without it", "quiet"],
  give_up: ["Tidak cocok: gagal", "No match: failed", "quiet"], sign: ["Tanda tangani tanda terima", "Sign the receipt", "primary"],
  retry: ["Coba simpan lagi", "Try to save again", "primary"], finish: ["Selesai", "Finish", "good"], cancel: ["Batal", "Cancel", "danger"],
};
const OLD_CARD = [["surrendered", "Diserahkan", "Surrendered", "primary"], ["lost", "Hilang", "Lost", ""], ["none", "Tidak ada (kartu pertama)", "None (first card)", ""]];
let shown = null;
let officers = [];

async function act(action, fields = {}) {
  try { draw(await unit.ask(`/api/handover/${action}`, fields)); }
  catch (error) { unit.fill("#notes", unit.tell(error)); if (error.status === 404) draw(null); }
}

function actions(found) {
  return found.actions.flatMap((action) => {
    if (action === "old_card") return OLD_CARD.filter(([state]) => state !== "none" || !found.card.old_card_due).map(([state, id, en, kind]) => unit.button(id, en, kind, () => act("old_card", { state })));
    if (action === "section_head") return heads().map((head) => unit.button(`Terima: ${head.name}`, "Accept, by section head's finger", "", () => act("section_head", { operator: head.operator, decision: "accept" })));
    const [id, en, kind] = LABELS[action] || [action, action, ""];
    return [action === "capture" && found.advice_id ? unit.button("Coba lagi", "Try again", kind, () => act(action)) : unit.button(id, en, kind, () => act(action))];
  });
}

const heads = () => officers.filter((officer) => officer.roles.includes("section-head"));

function handsOf(found) {
  const hands = unit.at("#hands").content.firstElementChild.cloneNode(true);
  const finger = found.ask && hands.querySelector(`[data-finger="${found.ask.position}"]`);
  if (finger) finger.classList.add("asked");
  return hands;
}

function penOf(found) {
  const alive = (canvas) => canvas.isConnected && shown && shown.step === found.step;
  return pen.field("/api/handover/pen", () => Boolean(shown) && shown.step === found.step && shown.state === "busy", alive);
}

// What was e-signed at the capture beside what the card says: the fields that differ, and how the pen moved.
function attestationOf(found) {
  const signed = found.attestation;
  const differs = signed.differs.length > 0;
  const verdict = differs
    ? unit.note("problem", "alert", "Data di kartu berbeda dari yang ditandatangani: hasilnya gagal.", "The card differs from what was signed: the result is gagal.")
    : unit.note("good", "tick", "Data di kartu sama dengan yang ditandatangani. Perbaikan data menyusul sebagai layanan.", "The card agrees with what was signed. A correction follows as a service.");
  const rows = unit.fields(found.biodata).map(([name, written], index) => {
    const here = unit.fields(signed.biodata)[index][1];
    return unit.make("tr", { class: here === written ? "" : "differs" }, unit.make("th", {}, name), unit.make("td", {}, here), unit.make("td", {}, written));
  });
  const table = unit.make("table", { class: "versus" }, unit.make("thead", {}, unit.make("tr", {}, unit.make("th"), unit.make("th", {}, "Ditandatangani", unit.make("br"), unit.make("small", { class: "en", lang: "en" }, "Signed")), unit.make("th", {}, "Pada kartu", unit.make("br"), unit.make("small", { class: "en", lang: "en" }, "On the card")))), unit.make("tbody", {}, ...rows));
  const player = unit.make("div", { class: "player" });
  unit.ask(signed.strokes).then((ink) => signatureReplay(player, ink)).catch((error) => unit.fill(player, unit.tell(error)));
  const statement = signed.statement_id ? unit.make("details", {}, unit.make("summary", {}, "Pernyataan yang ditandatangani ", unit.make("small", { class: "en", lang: "en" }, "The statement that was signed")), unit.make("div", { class: "statement" }, signed.statement_id)) : null;
  const chip = unit.make("figure", { class: "chip-signature" }, unit.make("img", { src: signed.chip_signature, alt: "Tanda tangan di chip (signature on the chip)" }), unit.make("figcaption", {}, "Tanda tangan di chip", unit.make("br"), unit.make("small", { class: "en", lang: "en" }, "Signature on the chip")));
  return unit.make("div", { class: "dispute" }, unit.make("div", { class: "card stack" }, verdict, table), unit.make("div", { class: "card stack" }, unit.make("div", { class: "heading" }, unit.make("h2", {}, `${unit.when(signed.agreed_ms)}`), unit.make("small", { class: "en", lang: "en" }, "When and how it was signed")), player, chip, statement ?? ""));
}
const paperOf = (found) => unit.paper(found.ticket, () => act("ticket")) || "";

function visual(found) {
  const head = unit.make("p", {}, unit.make("b", {}, found.card.name), ` · ${found.card.nik}`);
  switch (found.step) {
    case "old_card": case "card": case "old_card_back": return [unit.make("div", { class: "outcome" }, unit.badge("warn", "card"), head)];
    case "data": return [unit.make("div", { class: "compare card" }, unit.make("img", { src: found.card.portrait, alt: "Foto di chip (photo on the chip)" }), unit.make("div", { class: "stack" }, unit.make("h2", {}, "Data di dalam chip"), unit.facts(found.biodata)))];
    case "attestation": return [attestationOf(found)];
    case "verify": return [handsOf(found)];
    case "receipt": return [penOf(found)];
    case "berhasil": return [unit.make("div", { class: "outcome" }, unit.badge("good", "tick"), head, paperOf(found))];
    case "gagal": return [unit.make("div", { class: "outcome" }, unit.badge("bad", "cross"), head, paperOf(found))];
    case "cancelled": return [unit.make("div", { class: "outcome" }, unit.badge("warn", "alert"), head)];
    default: return [unit.make("div", { class: "waiting" })];
  }
}

function draw(found) {
  const before = shown;
  if (found && before && found.id === before.id && found.revision < before.revision) return;
  shown = found;
  unit.at("#start").hidden = Boolean(found) && found.step !== "finished";
  unit.at("#stage").hidden = !found || found.step === "finished";
  if (!found || found.step === "finished") { shown = null; listCards(); return; }
  unit.at("#stage").classList.toggle("busy", found.state === "busy");
  unit.fill("#progress", ...unit.steps(found.steps));
  unit.fill("#prompt-id", found.prompt_id);
  unit.fill("#prompt-en", found.prompt_en);
  if (!before || before.step !== found.step || JSON.stringify([before.ask, before.ticket]) !== JSON.stringify([found.ask, found.ticket])) unit.fill("#visual", ...visual(found));
  const notes = [];
  if (found.advice_id) notes.push(unit.note("advice", "hand", found.advice_id, found.advice_en));
  if (found.problem) notes.push(unit.note("problem", "alert", found.problem.message, found.problem.next_step));
  unit.fill("#notes", ...notes);
  unit.fill("#actions", ...actions(found));
}

async function listCards() {
  const cards = await unit.ask("/api/consignments").catch(() => []);
  unit.fill("#cards", ...(cards.length ? cards.map((card) => unit.make("tr", { class: "choose", on: () => { unit.at("#nik").value = card.nik; } },
    unit.make("td", {}, card.name, unit.make("br"), unit.make("small", { class: "en" }, card.nik)), unit.make("td", {}, card.card_number),
    unit.make("td", {}, unit.make("span", { class: card.withdrawn ? "tag bad" : "tag good" }, card.withdrawn ? "Ditahan" : "Siap diserahkan"))))
    : [unit.make("tr", {}, unit.make("td", { colspan: 3 }, "Belum ada kartu di meja ini."))]));
}

async function start() {
  // First, so that no form is sent before there is somebody who takes it.
  unit.at("#start-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      unit.fill("#start-notes");
      draw(await unit.ask("/api/handover", { nik: unit.at("#nik").value.replace(/\D/g, ""), operator: unit.at("#operator").value }));
    } catch (error) { unit.fill("#start-notes", unit.tell(error)); }
  });
  officers = await unit.ask("/api/operators").catch(() => []);
  unit.signedOn(["operator", "front-desk-officer"], () => !shown);
  await listCards();
}

start();
setInterval(() => { if (!shown) listCards(); }, 5000);
scan.listen(scan.into("#nik", "#start-notes", scan.choose), () => !shown && !unit.at("dialog"));
unit.follow("/api/handover", draw);
