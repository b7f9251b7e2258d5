// The capture session on kiosk and desk: draws whatever the snapshot says, and offers exactly its actions.
"use strict";

const KIOSK = document.body.dataset.page === "kiosk";
const LABELS = {
  confirm: ["Ya, benar", "Yes, it is right", "primary"], wrong: ["Ada yang salah", "Something is wrong", "danger"],
  capture: ["Mulai", "Start", "primary"], force: ["Pakai yang terbaik", "Use the best one", ""],
  except: ["Tidak bisa", "Cannot be given", "quiet"], withdraw: ["Batalkan pengecualian", "Withdraw the exception", ""],
  one_by_one: ["Satu per satu", "One by one", ""], retake: ["Foto ulang", "Take it again", ""],
  recapture: ["Rekam ulang jari ini", "Capture this finger again", ""], agree: ["Saya setuju, tanda tangan", "I agree and sign", "primary"],
  retry: ["Coba lagi", "Try again", "primary"], appeal: ["Ajukan keberatan", "Appeal", ""], finish: ["Selesai", "Finish", "good"],
  cancel: ["Batal", "Cancel", "danger"],
};
const CAPTURE = {
  photo: ["Ambil foto", "Take the photo"], exception_photo: ["Ambil foto", "Take the photo"], signature: ["Mulai tanda tangan", "Start signing"],
  fingers: ["Rekam jari", "Capture the finger"], irises: ["Rekam mata", "Capture the eyes"], verify: ["Periksa jari", "Check the finger"],
  sign_off: ["Sahkan dengan jari", "Sign off by finger"], second_officer: ["Benarkan dengan jari", "Confirm by finger"],
};
const REASONS = [["Tidak ada (amputasi)", "missing (amputated)"], ["Luka atau diperban", "injured or bandaged"], ["Cacat, tidak terbaca", "impaired, cannot be read"]];
const FINGERS_EN = ["", "Right thumb", "Right index finger", "Right middle finger", "Right ring finger", "Right little finger", "Left thumb", "Left index finger", "Left middle finger", "Left ring finger", "Left little finger"];
const UNLIKE = [["sex", "Jenis kelamin", "Sex"], ["age", "Umur", "Age"], ["sex,age", "Jenis kelamin dan umur", "Sex and age"]];
const ON_ITS_OWN = new Set(["fingers", "verify"]);
let shown = null;
let pressed = false;
let officers = [];

async function act(action, fields = {}) {
  try { draw(await unit.ask(`/api/session/${action}`, fields)); }
  catch (error) { unit.fill("#notes", unit.tell(error)); if (error.status === 404) draw(null); }
}

function actions(found) {
  if (found.step === "photo_review") return reviewActions(found);
  if (found.step === "iris_review") return eyeReviewActions(found);
  return found.actions.filter((action) => action !== "scan" && action !== "unscan").map((action) => {
    const [id, en, kind] = LABELS[action] || [action, action, ""];
    const [label_id, label_en] = action === "capture" && CAPTURE[found.step] ? CAPTURE[found.step] : [id, en];
    if (action === "capture" && found.step === "fingers" && found.ask?.fingers.length > 1 && !found.advice_id) return unit.button("Rekam jari bersamaan", "Capture them together", kind, () => press(found, action));
    const again = action === "capture" && found.advice_id ? ["Coba lagi", "Try again"] : [label_id, label_en];
    return unit.button(...again, kind, () => press(found, action));
  });
}

// The operator's word on the photo (M29): it is this person, and sex and age fit, or one of them does not.
function reviewActions(found) {
  const made = { confirm: unit.button("Ya, orang ini dan cocok", "Yes, this person, and it fits", "primary", () => act("confirm")) };
  const unlike = unit.button("Tidak sesuai data", "Unlike the biodata", "danger", askUnlike);
  return found.actions.flatMap((action) => {
    const [id, en, kind] = LABELS[action] || [action, action, ""];
    return action === "confirm" ? [made.confirm, unlike] : [unit.button(id, en, action === "cancel" ? "quiet" : kind, () => press(found, action))];
  });
}

// The operator's word on eyes that look swapped: they are as named, or both are taken again. Never a refusal.
function eyeReviewActions(found) {
  const words = { retake: ["Tertukar, rekam ulang", "Swapped, take both again", "primary"], confirm: ["Tidak tertukar, lanjutkan", "Not swapped, go on", ""], cancel: ["Batal", "Cancel", "quiet"] };
  return found.actions.map((action) => unit.button(...(words[action] || [action, action, ""]), () => press(found, action)));
}

function askUnlike() {
  let close = () => {};
  close = dialog("Apa yang tidak sesuai?", "What does not fit? The centre will ask the region; the capture goes on.", ...UNLIKE.map(([differs, id, en]) => unit.button(id, en, "", () => { close(); act("confirm", { differs }); })));
}

function press(found, action) {
  if (action === "except") return found.ask?.fingers.length > 1 ? askFinger(found.ask.fingers) : askReason();
  if (action === "cancel") return askCancel();
  pressed = action === "capture";
  if (action === "capture" && found.step === "second_officer") return askOfficer(found.operator);
  return act(action);
}

function dialog(title_id, title_en, ...content) {
  const box = unit.make("dialog", {}, unit.make("div", { class: "stack" }, unit.make("h2", {}, title_id), unit.make("p", { class: "en", lang: "en" }, title_en), unit.make("div", { class: "choices" }, ...content)));
  const close = () => { box.close(); box.remove(); };
  box.firstChild.lastChild.append(unit.button("Kembali", "Back", "quiet", close));
  document.body.append(box);
  box.showModal();
  return close;
}

// Of a slap, which finger comes first, then why.
function askFinger(fingers) {
  let close = () => {};
  const name = (finger) => unit.at("#hands").content.querySelector(`[data-finger="${finger}"] title`).textContent;
  close = dialog("Jari mana yang tidak dapat direkam?", "Which finger cannot be captured?", ...fingers.map((finger) => unit.button(name(finger), FINGERS_EN[finger], "", () => { close(); askReason({ position: String(finger) }); })));
}

function askReason(named = {}) {
  let close = () => {};
  const choose = (reason) => () => { close(); act("except", { reason, ...named }); };
  close = dialog("Mengapa tidak dapat direkam?", "Why can it not be captured?", ...REASONS.map(([id, en]) => unit.button(id, en, "", choose(en))));
}

function askCancel() {
  let close = () => {};
  close = dialog("Batalkan perekaman?", "Cancel the capture? Nothing will be kept.", unit.button("Ya, batalkan", "Yes, cancel", "danger", () => { close(); act("cancel"); }));
}

function askOfficer(operator) {
  let close = () => {};
  const others = officers.filter((officer) => officer.operator !== operator);
  close = dialog("Siapa petugas kedua?", "Who is the second officer?", ...others.map((officer) => unit.button(officer.name, officer.roles.join(", "), "", () => { close(); act("capture", { operator: officer.operator }); })));
}

function handsOf(found) {
  const hands = unit.at("#hands").content.firstElementChild.cloneNode(true);
  const taken = new Set(found.samples.filter((sample) => sample.modality === "finger").map((sample) => sample.position));
  const excepted = new Set(found.exceptions.filter((item) => item.modality === "finger").map((item) => item.position));
  for (const finger of hands.querySelectorAll("[data-finger]")) {
    const position = Number(finger.dataset.finger);
    if (found.ask && (found.ask.position === position || found.ask.fingers.includes(position))) finger.classList.add("asked");
    else if (excepted.has(position)) finger.classList.add("excepted");
    else if (taken.has(position) && found.ask.person === "resident") finger.classList.add("done");
  }
  return hands;
}

function eyesOf(found) {
  const eyes = unit.at("#eyes").content.firstElementChild.cloneNode(true);
  const taken = new Set(found.samples.filter((sample) => sample.modality === "iris").map((sample) => sample.position));
  for (const eye of eyes.querySelectorAll("[data-eye]")) eye.classList.add(taken.has(Number(eye.dataset.eye)) ? "done" : "asked");
  return eyes;
}

function penOf(found) {
  const alive = (canvas) => canvas.isConnected && shown && shown.step === found.step;
  return pen.field("/api/session/pen", () => Boolean(shown) && shown.step === found.step && shown.state === "busy", alive);
}

// What the scanner sees, where it can show it: hidden until the first picture has come.
function sightOf(found) {
  const image = unit.make("img", { class: "live sight", alt: "Pemindai (scanner)", hidden: true });
  setTimeout(() => unit.live(image, "/api/session/preview.jpg", () => image.isConnected && shown && shown.step === found.step), 0);
  return image;
}

function photoOf(found) {
  const image = unit.make("img", { class: "live", alt: "Kamera (camera)" });
  setTimeout(() => unit.live(image, "/api/session/preview.jpg", () => image.isConnected && shown && shown.step === found.step), 0);
  return unit.make("div", { class: "oval" }, image);
}

function reviewOf(found) {
  const photo = found.samples.find((sample) => sample.modality === "face");
  const born = new Date(found.biodata.birth_date);
  const [today, had] = [new Date(), new Date()];
  had.setMonth(born.getMonth(), born.getDate());
  const years = today.getFullYear() - born.getFullYear() - (had > today ? 1 : 0);
  const rows = [["Nama", "Name", found.biodata.name], ["Jenis kelamin", "Sex", found.biodata.sex], ["Umur", "Age", `${years} tahun`], ["Tanggal lahir", "Born", found.biodata.birth_date]];
  return unit.make("div", { class: "review card" }, unit.make("img", { src: `${photo.href}?q=${photo.quality}`, alt: "Foto yang diambil (the photo taken)" }),
    unit.make("dl", { class: "facts" }, ...rows.flatMap(([id, en, value]) => [unit.make("dt", {}, ...unit.both(id, en)), unit.make("dd", {}, value)])));
}

function eyeReviewOf(found) {
  const eye = (position, id, en) => {
    const sample = found.samples.find((item) => item.modality === "iris" && item.position === position);
    return unit.make("figure", {}, unit.make("img", { src: sample ? `${sample.href}?q=${sample.quality}` : "", alt: `${id} (${en})` }), unit.make("figcaption", {}, ...unit.both(id, en)));
  };
  return unit.make("div", { class: "card eye-review" }, eye(1, "Direkam sebagai mata kanan", "Taken as the right eye"), eye(2, "Direkam sebagai mata kiri", "Taken as the left eye"),
    unit.note("advice", "hand", "Penilaian ini dapat keliru: yang menentukan adalah petugas.", "This judgement may be wrong: the officer decides."));
}

function outcome(kind, icon, ...text) {
  return unit.make("div", { class: "outcome" }, unit.badge(kind, icon), ...text.filter((part) => part !== null));
}

function receiptOf(found) {
  const receipt = found.result.receipt;
  const proof = unit.make("a", { class: "button", href: `/proof?id=${found.result.packet_id}`, target: "_blank" }, ...unit.both("Bukti perekaman", "Proof of capture"));
  const line = receipt
    ? unit.note("good", "tick", "Tersimpan di server pusat: dikonfirmasi.", `Saved on the server is confirmed (number ${receipt.hub_sequence}).`)
    : unit.note("advice", "alert", "Tersimpan di perangkat ini. Menunggu konfirmasi server; pengiriman berjalan sendiri.", "Saved on this unit. Waiting for the server's confirmation; it is sent by itself.");
  return outcome("good", "tick", line, unit.paper(found.ticket, () => act("ticket")), proof);
}

// Papers that were ticked, each with its scanned pages; nothing where the unit has no scanner.
function papersOf(found) {
  if (!found.actions.includes("scan") && found.state !== "busy" && !found.papers.some((item) => item.pages)) return "";
  if (!found.papers.length) return "";
  const name = (paper) => unit.at(`#papers input[value="${paper}"]`)?.nextElementSibling?.cloneNode(true) || paper;
  const rows = found.papers.map((item) => unit.make("li", {}, unit.make("div", {}, name(item.paper),
    unit.make("span", { class: item.pages ? "tag good" : "tag" }, item.pages ? `${item.pages} halaman` : "belum dipindai")),
    found.actions.includes("scan") ? unit.button(item.pages ? "Tambah" : "Pindai", item.pages ? "Add pages" : "Scan", "", () => act("scan", { paper: item.paper })) : "",
    item.pages && found.actions.includes("unscan") ? unit.button("Hapus", "Drop", "quiet", () => act("unscan", { paper: item.paper })) : ""));
  return unit.make("div", { class: "card papers" }, unit.make("div", { class: "heading" }, unit.make("h2", {}, "Berkas"), unit.make("small", { class: "en", lang: "en" }, "Papers, scanned and filed with the application")), unit.make("ul", {}, ...rows));
}

function visual(found) {
  if (["seal", "search"].includes(found.step) && found.state === "busy") return [unit.make("div", { class: "waiting" })];
  switch (found.step) {
    case "biodata": return [unit.make("div", { class: "card" }, unit.facts(found.biodata, true)), papersOf(found)];
    case "photo": case "exception_photo": return [photoOf(found)];
    case "photo_review": return [reviewOf(found)];
    case "signature": return [penOf(found)];
    case "attest": return [unit.make("div", { class: "attest" }, unit.make("div", { class: "statement" }, found.statement_id, "\n\n", unit.make("span", { class: "en", lang: "en" }, found.statement_en)), penOf(found))];
    case "fingers": case "verify": return [handsOf(found), sightOf(found)];
    case "sign_off": case "second_officer": return [handsOf(found)];
    case "iris_review": return [eyeReviewOf(found)];
    case "irises": return [eyesOf(found), sightOf(found)];
    case "saved": return [receiptOf(found)];
    case "refused": return [outcome("bad", "cross")];
    case "appealed": case "correction": case "cancelled": case "finished": return [outcome("warn", "alert")];
    default: return [unit.make("div", { class: "waiting" })];
  }
}

function notes(found) {
  const made = [];
  if (found.advice_id) made.push(unit.note("advice", "hand", found.advice_id, found.advice_en));
  if (found.problem) made.push(unit.note("problem", "alert", found.problem.message, found.problem.next_step));
  return made;
}

function draw(found) {
  const before = shown;
  if (found && before && found.id === before.id && found.revision < before.revision) return;
  shown = found;
  unit.at("#start").hidden = Boolean(found) && found.step !== "finished";
  unit.at("#stage").hidden = !found || found.step === "finished";
  if (!found || found.step === "finished") { shown = null; return; }
  const seen = (one) => JSON.stringify([one.step, one.ask, one.result, one.ticket, one.papers, one.samples.length, one.step === "biodata" && one.actions]);
  const same = before && seen(before) === seen(found); // a picture that is drawn anew starts anew: a live one would blink
  unit.at("#stage").classList.toggle("busy", found.state === "busy");
  unit.fill("#progress", ...unit.steps(found.steps));
  unit.fill("#prompt-id", found.prompt_id);
  unit.fill("#prompt-en", found.prompt_en);
  if (!same || ["seal", "search"].includes(found.step)) unit.fill("#visual", ...visual(found));
  unit.fill("#notes", ...notes(found));
  unit.fill("#actions", ...actions(found));
  unit.fill("#who", found.biodata && !KIOSK && found.step !== "biodata" ? unit.facts(found.biodata) : null);
  unit.fill("#thumbs", ...found.samples.filter((sample) => sample.href && found.state !== "ended").map((sample) => unit.make("figure", {}, unit.make("img", { src: `${sample.href}?q=${sample.quality}`, alt: "" }), `${sample.quality}${sample.forced ? " !" : ""}`)));
  const moved = before && before.step === found.step && JSON.stringify(before.ask) !== JSON.stringify(found.ask);
  const byHand = found.ask?.fingers.length > 1; // a hand takes longer to change than a finger: no slap begins by itself
  if (pressed && moved && !byHand && ON_ITS_OWN.has(found.step) && found.state === "asking" && !found.advice_id && !found.problem) {
    setTimeout(() => { if (shown === found) act("capture"); }, 1200);
  }
  if (found.step !== before?.step) pressed = pressed && ON_ITS_OWN.has(found.step) && ON_ITS_OWN.has(before?.step);
}

async function startForm() {
  // First, so that no form is sent before there is somebody who takes it.
  const form = unit.at("#start-form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const papers = unit.all("#papers input:checked").map((tick) => tick.value);
    try {
      unit.fill("#start-notes");
      draw(await unit.ask("/api/session", { nik: unit.at("#nik").value.replace(/\D/g, ""), operator: unit.at("#operator").value, papers }));
    } catch (error) { unit.fill("#start-notes", unit.tell(error)); }
  });
  for (const key of unit.all("[data-key]")) key.addEventListener("click", () => {
    const nik = unit.at("#nik");
    nik.value = key.dataset.key === "back" ? nik.value.slice(0, -1) : (nik.value + key.dataset.key).slice(0, 16);
  });
  officers = await unit.ask("/api/operators").catch(() => []);
  unit.signedOn(["operator"], () => !shown);
  await listResidents();
}

async function listResidents() {
  const list = unit.at("#residents");
  if (!list) return;
  const residents = await unit.ask("/api/residents?limit=200").catch(() => []);
  unit.fill(list, ...residents.map((resident) => {
    const free = resident.status === "UNREGISTERED" && resident.eligible && !resident.captured_here;
    const row = unit.make("tr", { class: "choose", on: () => { unit.at("#nik").value = resident.nik; } },
      unit.make("td", {}, resident.name, unit.make("br"), unit.make("small", { class: "en" }, resident.nik)),
      unit.make("td", {}, unit.make("span", { class: free ? "tag good" : "tag" }, free ? "Boleh direkam" : resident.status)));
    return row;
  }));
}

async function listNotices() {
  if (!unit.at("#notices")) return;
  const notices = await unit.ask("/api/notices").catch(() => []);
  unit.fill("#notices", ...(notices.length ? notices.slice(0, 30).map((notice) => unit.make("tr", {}, unit.make("td", {}, unit.when(notice.at_ms)), unit.make("td", {}, notice.nik),
    unit.make("td", {}, unit.make("span", { class: notice.status === "DUPLICATE_RECORD" ? "tag bad" : "tag" }, notice.status)), unit.make("td", {}, notice.message_id, unit.make("br"), unit.make("small", { class: "en", lang: "en" }, notice.message_en))))
    : [unit.make("tr", {}, unit.make("td", {}, "Belum ada kabar."))]));
}

startForm();
listNotices();
setInterval(() => { if (!shown) { listResidents(); listNotices(); } }, 8000);
scan.listen(scan.into("#nik", "#start-notes", scan.choose), () => !shown && !unit.at("dialog"));
unit.follow("/api/session", draw);
