// Queue numbers: hand one out, print it, call the next. A number counts whether or not the paper came out.
"use strict";

const SERVICES = { capture: ["Perekaman KTP-el", "Capture"], handover: ["Pengambilan KTP-el", "Collect a card"] };

function paper(found) {
  const { ticket, number } = found;
  if (ticket.state === "printed") return unit.note("good", "tick", `Nomor ${number} sudah dicetak: ambil kertasnya.`, "Printed: take the paper.");
  const note = unit.note("advice", "alert", `Ingat nomor Anda: ${number}. ${ticket.message_id}`, `Remember your number. ${ticket.message_en}`);
  note.append(unit.button("Cetak ulang", "Print again", "", () => again(number)));
  return note;
}

async function again(number) {
  try { unit.fill("#notes", paper(await unit.ask(`/api/queue/${number}/print`, {}))); }
  catch (error) { unit.fill("#notes", unit.tell(error)); }
}

async function take(service) {
  try {
    unit.fill("#notes", null);
    const found = await unit.ask("/api/queue", { service });
    unit.fill("#number", unit.make("b", {}, found.number), unit.make("span", {}, SERVICES[service][0], unit.make("small", { lang: "en" }, `${found.ahead} orang di depan Anda (people before you)`)));
    unit.at("#number").hidden = false;
    unit.fill("#notes", paper(found));
  } catch (error) { unit.fill("#notes", unit.tell(error)); }
  draw();
}

async function call(service) {
  try {
    const { number } = await unit.ask("/api/queue/call", { service });
    unit.fill("#notes", number ? unit.note("good", "tick", `Dipanggil: ${number}`, "Called") : unit.note("advice", "hand", "Tidak ada yang menunggu.", "Nobody is waiting."));
  } catch (error) { unit.fill("#notes", unit.tell(error)); }
  draw();
}

async function draw() {
  const found = await unit.ask("/api/queue").catch(() => null);
  if (!found) return;
  if (!unit.at("#services").childElementCount) {
    unit.fill("#services", ...found.services.map((service) => unit.button(...SERVICES[service], "primary", () => take(service))));
    unit.fill("#calls", ...found.services.map((service) => unit.button(`Panggil: ${SERVICES[service][0]}`, `Call the next: ${SERVICES[service][1]}`, "", () => call(service))));
  }
  const chips = (numbers) => numbers.length ? numbers.map((item) => unit.make("li", {}, item.number)) : [unit.make("li", { class: "en" }, "–")];
  unit.fill("#called", ...chips(found.called));
  unit.fill("#waiting", ...chips(found.waiting.slice(0, 24)));
}

draw();
setInterval(draw, 3000);
