// The officers' page: sign on by finger, with PIN or card; change a PIN; lift a lock; take a new officer.
"use strict";

const NEXT = new URLSearchParams(location.search).get("next");
const ROLES = { operator: "operator", "front-desk-officer": "petugas pendukung", "section-head": "kepala seksi", "distribution-officer": "petugas distribusi", "dc-officer": "petugas pusat", adb: "ADB", adjudicator: "adjudikator", technician: "teknisi" };
const HEADS = new Set(["section-head", "dc-officer"]);
const LABELS = {
  capture: ["Baca jari", "Read the finger", "primary"], other: ["Jari lain", "Another finger", ""], card: ["Baca kartu", "Read the card", "primary"],
  with_pin: ["PIN enam angka", "Six-digit PIN", "primary"], with_card: ["KTP-el", "Identity card", "primary"], without: ["Sidik jari saja", "The finger alone", ""],
  retry: ["Coba lagi", "Try again", "primary"], finish: ["Selesai", "Finish", "good"], cancel: ["Batal", "Cancel", "quiet"],
};
let shown = null;
let duty = null;

async function act(action, fields = {}) {
  try { draw(await unit.ask(`/api/officer-work/${action}?wait_s=0.3`, fields)); }
  catch (error) { unit.fill("#notes", unit.tell(error)); if (error.status === 404) draw(null); }
}

async function begin(path, fields) {
  const notes = unit.at("#enrol-form").hidden ? "#start-notes" : "#form-notes";
  try { unit.fill(notes); draw(await unit.ask(path, fields)); }
  catch (error) { unit.fill(notes, unit.tell(error)); unit.at(notes).scrollIntoView({ block: "nearest" }); }
}

const identify = (operator, purpose = "sign-on", subject = "") => begin("/api/officer-work/identify", { operator, purpose, subject });

function handsOf(found) {
  const hands = unit.at("#hands").content.firstElementChild.cloneNode(true);
  const taken = new Set(found.fingers.map((finger) => finger.position));
  for (const finger of hands.querySelectorAll("[data-finger]")) {
    const position = Number(finger.dataset.finger);
    if (found.ask && found.ask.position === position) finger.classList.add("asked");
    else if (taken.has(position) && found.step === "fingers") finger.classList.add("done");
  }
  return hands;
}

function sightOf(found) {
  const image = unit.make("img", { class: "live sight", alt: "Pemindai (scanner)", hidden: true });
  setTimeout(() => unit.live(image, "/api/officer-work/preview.jpg", () => image.isConnected && shown && shown.step === found.step), 0);
  return image;
}

function outcome(kind, icon, ...text) {
  return unit.make("div", { class: "outcome" }, unit.badge(kind, icon), ...text);
}

function receiptOf(found) {
  const receipt = found.result && found.result.receipt;
  return receipt ? unit.note("good", "tick", "Tersimpan di server pusat: menunggu persetujuan petugas kedua.", `Saved on the server (number ${receipt.hub_sequence}): waits for a second officer.`)
    : unit.note("advice", "alert", "Tersimpan di perangkat ini; pengiriman berjalan sendiri.", "Saved on this unit; it is sent by itself.");
}

function visual(found) {
  switch (found.step) {
    case "finger": case "fingers": case "sign_off": return [handsOf(found), sightOf(found)];
    case "pin": return [keypad.make((pin) => act("pin", { pin }))];
    case "new_pin": case "enrolment_pin": return [keypad.make((pin, again) => act("pin", { pin, again }), true)];
    case "card": case "enrolment_card": return [unit.make("div", { class: "big-icon" }, unit.icon("card"))];
    case "factor": return [unit.make("div", { class: "big-icon" }, unit.icon("hand"))];
    case "signed_on": case "pin_changed": case "unlocked": return [outcome("good", "tick")];
    case "enrolled": return [outcome("good", "tick", receiptOf(found))];
    case "cancelled": return [outcome("warn", "alert")];
    default: return [unit.make("div", { class: "waiting" })];
  }
}

function actions(found) {
  return found.actions.filter((action) => action !== "pin").map((action) => {
    const [id, en, kind] = LABELS[action] || [action, action, ""];
    return unit.button(...(action === "capture" && found.advice_id ? ["Coba lagi", "Try again"] : [id, en]), kind, () => act(action));
  });
}

function draw(found) {
  const before = shown;
  if (found && before && found.id === before.id && found.revision < before.revision) return;
  shown = found && found.step !== "finished" ? found : null;
  unit.at("#start").hidden = Boolean(shown);
  unit.at("#stage").hidden = !shown;
  if (!shown) { if (before) refresh(); return; }
  unit.at("#stage").classList.toggle("busy", found.state === "busy");
  unit.fill("#progress", ...(found.kind === "enrol" ? unit.steps(found.steps) : []));
  unit.fill("#prompt-id", found.prompt_id);
  unit.fill("#prompt-en", found.prompt_en);
  const same = before && before.id === found.id && before.step === found.step && JSON.stringify([before.ask, before.result, before.fingers]) === JSON.stringify([found.ask, found.result, found.fingers]);
  if (!same) unit.fill("#visual", ...visual(found));
  unit.fill("#notes", ...(found.advice_id ? [unit.note("advice", "hand", found.advice_id, found.advice_en)] : found.notice_id ? [unit.note("advice", "alert", found.notice_id, found.notice_en)] : []), ...(found.problem ? [unit.note("problem", "alert", found.problem.next_step, found.problem.message)] : []));
  unit.fill("#actions", ...actions(found));
  if (found.step === "signed_on" && before?.step !== "signed_on") setTimeout(leave, 1200);
}

// After signing on, back to the page that asked for it.
async function leave() {
  await act("finish");
  if (NEXT && /^[a-z]+$/.test(NEXT)) location.href = `/${NEXT}`;
}

const rolesOf = (officer) => officer.roles.map((role) => ROLES[role] || role).join(", ");

function officerButton(officer) {
  const tags = [];
  if (!officer.lease_runs) tags.push(unit.make("span", { class: "tag bad" }, "Wewenang berakhir"));
  if (officer.locked) tags.push(unit.make("span", { class: "tag bad" }, "PIN terkunci"));
  if (officer.pin_reset) tags.push(unit.make("span", { class: "tag warn" }, "PIN diatur ulang"));
  if (officer.pin) tags.push(unit.make("span", { class: "tag" }, "PIN"));
  if (officer.card) tags.push(unit.make("span", { class: "tag" }, "KTP-el"));
  const here = duty && duty.officer && duty.officer.operator === officer.operator;
  if (here) tags.unshift(unit.make("span", { class: "tag good" }, "Sedang bertugas"));
  const lift = officer.locked && duty?.officer && !here && duty.officer.roles.some((role) => HEADS.has(role));
  return unit.make("div", { class: "officer" },
    unit.make("button", { type: "button", class: here ? "good" : "", on: () => identify(officer.operator) }, officer.name, unit.make("small", {}, rolesOf(officer)), unit.make("span", { class: "tags" }, ...tags)),
    lift ? unit.button("Buka kunci PIN", "Lift the lock", "", () => identify(duty.officer.operator, "unlock", officer.operator)) : null);
}

function dutyOf() {
  const officer = duty?.officer;
  if (!officer) return [unit.make("div", { class: "duty" }, unit.icon("hand"), unit.make("div", {}, unit.make("h2", {}, "Belum ada petugas yang masuk"), unit.make("small", { class: "en", lang: "en" }, "Nobody is signed on at this unit")))];
  const soon = duty.lease_left_s < 172800;
  const lease = unit.make("small", { class: soon ? "tag warn" : "en" }, `Wewenang sampai ${unit.when(duty.lease_until_ms)}${soon ? " · sambungkan ke pusat" : ""}`);
  const isHead = officer.roles.some((role) => HEADS.has(role));
  return [unit.make("div", { class: "duty" }, unit.icon("tick", "good"), unit.make("div", {}, unit.make("h2", {}, officer.name), unit.make("small", { class: "en" }, rolesOf(officer)), unit.make("br"), lease)),
    unit.make("div", { class: "actions" },
      isHead ? unit.button("Daftarkan petugas", "Enrol an officer", "", () => { const form = unit.at("#enrol-form"); form.hidden = !form.hidden; }) : null,
      unit.button("Ganti PIN", "Change PIN", "", () => identify(officer.operator, "new-pin")),
      unit.button("Keluar", "Sign off", "danger", async () => { try { await unit.ask("/api/sign-off", {}); } catch (error) { unit.fill("#start-notes", unit.tell(error)); } unit.at("#enrol-form").hidden = true; refresh(); }))];
}

async function refresh() {
  const [found, officers] = await Promise.all([unit.ask("/api/sign-on"), unit.ask("/api/officers")]).catch(() => [null, null]);
  if (!found || shown) return;
  duty = found;
  unit.fill("#on-duty", ...dutyOf());
  unit.fill("#officers", ...(officers.length ? officers.map(officerButton) : [unit.note("advice", "alert", "Belum ada daftar petugas. Sambungkan perangkat ke pusat.", "There is no roster yet. Connect the unit to the centre.")]));
}

unit.at("#enrol-cancel").addEventListener("click", () => { unit.at("#enrol-form").hidden = true; });
unit.at("#enrol-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const roles = unit.all("#new-roles input:checked").map((tick) => tick.value);
  begin("/api/officer-work/enrol", { operator: unit.at("#new-id").value.trim(), name: unit.at("#new-name").value.trim(), roles });
});
refresh();
setInterval(refresh, 5000);
unit.follow("/api/officer-work", draw);
