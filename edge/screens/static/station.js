// The personalisation station: draws whatever the snapshot says, and offers exactly its actions.
"use strict";

const LABELS = {
  check: ["Periksa blangko", "Check the blank", "primary"], put_back: ["Kembalikan pekerjaan", "Put the job back", "quiet"],
  encode: ["Encode chip", "Encode the chip", "primary"], print: ["Cetak kartu", "Print the card", "primary"],
  check_print: ["Lihat pencetak", "Look at the printer", ""], print_again: ["Cetak lagi", "Print again", "primary"],
  printed: ["Tercetak lengkap", "It is printed completely", "primary"], not_printed: ["Belum tercetak", "It is not printed", ""],
  read_back: ["Baca kartu", "Read the card", "primary"], release: ["Lepaskan kartu", "Release the card", "good"],
  spoil: ["Kartu rusak", "The card is spoiled", "danger"], retry: ["Coba simpan lagi", "Try to save again", "primary"],
  cancel: ["Hentikan", "Stop", "danger"], cancel_print: ["Batalkan cetak", "Cancel the print", "danger"],
};
const REASONS = [["Cetakan salah atau kotor", "print is wrong or dirty"], ["Chip tidak dapat ditulis", "chip cannot be written"], ["Kartu rusak fisik", "card is physically damaged"]];
let shown = null;

async function act(action, fields = {}) {
  try { draw(await unit.ask(`/api/station/${action}`, fields)); }
  catch (error) { if (error.content?.code === "PIN_ASKED") askPin(action, fields); else unit.fill("#notes", unit.tell(error)); }
}

function askPin(action, fields) {
  const box = unit.make("dialog", {}, unit.make("div", { class: "stack" }, unit.make("h2", {}, "Masukkan PIN Anda"), unit.make("p", { class: "en", lang: "en" }, "Enter your PIN; then place your finger."), unit.make("div", { class: "choices" })));
  const close = () => { box.close(); box.remove(); };
  box.querySelector(".choices").append(keypad.make((pin) => { close(); act(action, { ...fields, pin }); }), unit.button("Kembali", "Back", "quiet", close));
  document.body.append(box);
  box.showModal();
}

function button(action) {
  const [id, en, kind] = LABELS[action] || [action, action, ""];
  return unit.button(id, en, kind, () => {
    if (action === "spoil") return askReason();
    return act(action, action === "release" ? { operator: unit.at("#head").value } : {});
  });
}

function askReason() {
  const box = unit.make("dialog", {}, unit.make("div", { class: "stack" }, unit.make("h2", {}, "Mengapa kartu rusak?"), unit.make("p", { class: "en" }, "Why is the card spoiled?"), unit.make("div", { class: "choices" })));
  const close = () => { box.close(); box.remove(); };
  box.querySelector(".choices").append(...REASONS.map(([id, en]) => unit.button(id, en, "", () => { close(); act("spoil", { reason: en }); })), unit.button("Kembali", "Back", "quiet", close));
  document.body.append(box);
  box.showModal();
}

function jobs(found) {
  const waiting = found.jobs.map((job) => unit.make("form", { class: "job" }, unit.make("div", {}, unit.make("b", {}, job.name), unit.make("br"), unit.make("small", { class: "en" }, `… ${job.nik_end} · ${job.card_number}`))));
  if (!found.actions.includes("start")) return waiting.length ? waiting : [unit.make("p", { class: "en" }, found.job ? "Satu kartu sedang dikerjakan." : "Belum ada pekerjaan.")];
  const nik = unit.make("input", { type: "text", class: "nik", inputmode: "numeric", maxlength: 16, placeholder: "NIK" });
  return [...waiting, nik, unit.button("Mulai", "Start", "primary", () => act("start", { nik: nik.value.replace(/\D/g, ""), operator: unit.at("#operator").value }))];
}

function visual(found) {
  const picture = (name) => unit.make("img", { class: "face", src: `/api/station/picture/${name}?r=${found.revision}`, alt: name });
  if (found.step === "preview" || found.step === "turn") return [unit.make("div", { class: "stack" }, picture("front"), picture("back")), unit.make("img", { class: "picture", src: "/api/station/picture/blank", alt: "Garuda menghadap ke atas" })];
  if (found.job && ["read_back", "release"].includes(found.step)) return [picture("front"), unit.facts(found.job.biodata)];
  if (found.job) return [unit.make("div", { class: "outcome" }, unit.badge("warn", "card"), unit.make("p", {}, unit.make("b", {}, found.job.biodata.name), ` · ${found.job.card_number} · ${found.job.card_uid || ""}`))];
  return [unit.make("img", { class: "picture", src: "/api/station/picture/blank", alt: "Blangko" })];
}

function draw(found) {
  if (!found || (shown && found.revision < shown.revision)) return;
  const moved = !shown || shown.step !== found.step || JSON.stringify(shown.job) !== JSON.stringify(found.job);
  const same_jobs = shown && JSON.stringify([shown.jobs, shown.actions]) === JSON.stringify([found.jobs, found.actions]);
  shown = found;
  unit.at("#stage").classList.toggle("busy", found.state === "busy");
  unit.fill("#progress", ...unit.steps(found.steps));
  unit.fill("#prompt-id", found.prompt_id);
  unit.fill("#prompt-en", found.prompt_en);
  if (!same_jobs) unit.fill("#jobs", ...jobs(found));
  if (moved) unit.fill("#visual", ...visual(found));
  const notes = found.printer.faults.map((fault) => unit.note("problem", "alert", fault.advice_id, fault.advice_en));
  if (found.advice_id) notes.push(unit.note("advice", "hand", found.advice_id, found.advice_en));
  if (found.problem) notes.push(unit.note("problem", "alert", found.problem.message, found.problem.next_step));
  if (found.progress) notes.push(unit.note("good", "card", `${found.progress.done} / ${found.progress.total}`, ""));
  unit.fill("#notes", ...notes);
  unit.fill("#actions", ...found.actions.filter((action) => action !== "start").map(button));
}

async function start() {
  const officers = await unit.ask("/api/operators").catch(() => []);
  const options = (role) => officers.filter((officer) => officer.roles.includes(role)).map((officer) => unit.make("option", { value: officer.operator }, officer.name));
  unit.fill("#operator", ...options("operator"));
  unit.fill("#head", ...options("section-head"));
}

start();
unit.follow("/api/station", draw);
