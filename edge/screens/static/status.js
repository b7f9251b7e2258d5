// The status page: the NID Scheduler's five lines, what waits with its age, links and devices.
"use strict";

const GOOD = new Set(["CONNECTED", "RUNNING", "PRODUCTION", "ready", "busy"]);
const tag = (value) => unit.make("span", { class: `tag ${GOOD.has(value) ? "good" : "bad"}` }, value);

function panel(uplink) {
  const rows = [["Mode", tag(uplink.mode)], ["Database", tag(uplink.database)], ["Correlation ID (kode tempat)", uplink.correlation_id],
    ["Queue", tag(uplink.queue)], ["Scheduler", tag(uplink.scheduler)], ["Records sent since restart", String(uplink.records_sent_since_restart)]];
  return rows.flatMap(([name, value]) => [unit.make("dt", {}, name), unit.make("dd", {}, value)]);
}

const COUNTERS = { crc_errors: ["Bingkai rusak", "damaged frames"], retransmits: ["Kirim ulang", "retransmits"], overruns: ["Bingkai terlalu panjang", "overruns"], resyncs: ["Mulai ulang", "restarts of the other end"] };

function controller(found) {
  unit.at("#controller").hidden = !found.configured;
  if (!found.configured) return;
  const seen = found.snapshot || {};
  const mark = (open, words) => (open === null || open === undefined ? null : unit.make("span", { class: `tag ${open ? "bad" : "good"}` }, words[open ? 0 : 1]));
  unit.fill("#controller-state", tag(found.state), " ", mark(found.tamper_open, ["Segel terbuka (tamper open)", "Segel utuh (sealed)"]), " ",
    mark(found.door_open, ["Pintu terbuka (door open)", "Pintu tertutup (door closed)"]), " ",
    seen.celsius === null || seen.celsius === undefined ? null : unit.make("span", { class: "tag" }, `${seen.celsius} °C`), " ",
    found.firmware ? unit.make("small", { class: "en" }, found.firmware) : null, found.problem ? unit.note("problem", "alert", "Papan pengendali tidak terdengar. Pelayanan tetap berjalan.", found.problem) : null);
  const cell = (counters, name) => unit.make("td", { class: "number" }, counters[name] === undefined ? "–" : String(counters[name]));
  unit.fill("#controller-counters", unit.make("tr", {}, unit.make("th", {}, ""), unit.make("th", { class: "number" }, "unit"), unit.make("th", { class: "number" }, "papan (board)")),
    ...Object.entries(COUNTERS).map(([name, [id, en]]) => unit.make("tr", {}, unit.make("td", {}, id, unit.make("br"), unit.make("small", { class: "en", lang: "en" }, en)), cell(found.counters, name), cell(found.board_counters, name))));
}

function configuration(found) {
  unit.at("#configuration").hidden = !(found.version || found.on_trial || found.refused);
  unit.fill("#configuration-state", unit.make("span", { class: "tag good" }, `Versi ${found.version}`), " ",
    found.on_trial ? unit.make("span", { class: "tag warn" }, "Yang baru sedang dicoba (a new one is on trial)") : null,
    found.refused ? unit.note("problem", "alert", `Versi ${found.refused} tidak dipakai. ${found.problem_id}`, found.problem_en) : null);
}

const ENDS = { good: "good", returned: "bad", refused: "bad", cancelled: "warn" };
const PARTS_ID = { edge: "Perangkat lunak", firmware: "Papan pengendali", "configuration-schema": "Aturan konfigurasi" };

function software(found) {
  const where = found.slot ? ` · slot ${found.slot.toUpperCase()}` : "";
  const done = found.state === "downloading" && found.all ? ` ${Math.floor((100 * found.done) / found.all)} %` : "";
  unit.fill("#software-state", unit.make("span", { class: "tag good" }, `Versi ${found.version}${where}`), " ",
    found.on_trial ? unit.make("span", { class: "tag warn" }, "Sedang dicoba (on trial)") : null);
  unit.fill("#software-update", found.state ? unit.make("p", {}, `${PARTS_ID[found.artefact]} ${found.to}: `, unit.make("span", { class: `tag ${ENDS[found.state] || "warn"}` }, `${found.state_id}${done}`), " ",
    unit.make("small", { class: "en", lang: "en" }, `${found.artefact} ${found.to}: ${found.state}${done}`)) : null,
    found.problem_id ? unit.note("problem", "alert", found.problem_id, found.problem_en) : null);
}

function line(found) {
  unit.fill("#line", found.problem ? unit.make("div", { class: "note problem line-problem", role: "status", "data-problem": found.problem }, unit.icon("alert"),
    unit.make("div", {}, found.message_id, unit.make("small", { lang: "en" }, found.message_en), found.detail ? unit.make("small", { class: "detail" }, found.detail) : null)) : null);
}

async function draw() {
  const status = await unit.ask("/api/status").catch(() => null);
  if (!status) return;
  const { uplink } = status;
  unit.fill("#sent", String(uplink.records_sent_since_restart));
  unit.fill("#pending", String(uplink.pending));
  unit.fill("#oldest", uplink.pending ? unit.age(uplink.oldest_age_s) : "–");
  unit.fill("#held", String(uplink.held));
  unit.fill("#panel", ...panel(uplink));
  unit.fill("#waiting", ...(status.waiting.length ? status.waiting.map((packet) => unit.make("tr", {}, unit.make("td", {}, packet.kind, unit.make("br"), unit.make("small", { class: "en" }, packet.pid.slice(0, 16))),
    unit.make("td", {}, unit.make("span", { class: packet.held_reason ? "tag bad" : "tag" }, packet.held_reason || packet.state)), unit.make("td", { class: "number" }, `${Math.ceil(packet.length / 1024)} KB`), unit.make("td", { class: "number" }, unit.age(packet.age_s))))
    : [unit.make("tr", {}, unit.make("td", { colspan: 4 }, "Tidak ada. Semua data sudah diterima pusat."))]));
  const box = status.enclosure || {};
  const doors = { open: ["Pintu terbuka (door open)", "tag bad"], closed: ["Pintu tertutup (door closed)", "tag good"] };
  const inside = box.temperature_c === null || box.temperature_c === undefined ? [] : [unit.make("span", { class: "tag" }, `${box.temperature_c.toLocaleString("id-ID")} °C · ${box.humidity_percent} %`), " "];
  unit.at("#box").hidden = !box.configured;
  unit.fill("#box-state", ...inside, doors[box.door] ? unit.make("span", { class: doors[box.door][1] }, doors[box.door][0]) : null,
    box.alarms_waiting ? unit.make("span", { class: "tag warn" }, `${box.alarms_waiting} kejadian menunggu jaringan (events wait for the line)`) : null, box.problem ? unit.note("problem", "alert", "Kotak perangkat bermasalah.", box.problem) : null);
  const { problem_id: late, problem_en: behind } = status.clock || {};
  unit.fill("#clock", late ? unit.note("problem", "alert", late, behind) : null);
  line(status.line || {});
  controller(status.controller || {});
  configuration(status.configuration || {});
  software(status.software);
  unit.fill("#devices", ...status.devices.map((device) => unit.make("tr", {}, unit.make("td", {}, device.kind), unit.make("td", {}, device.model || device.driver), unit.make("td", {}, tag(device.state), device.problem ? unit.make("small", { class: "en" }, ` ${device.problem}`) : ""))));
}

unit.at("#links").addEventListener("click", async (event) => {
  event.currentTarget.disabled = true;
  const hops = await unit.ask("/api/links", {}).catch(() => []);
  unit.fill("#hops", ...hops.map((hop) => unit.make("tr", {}, unit.make("td", {}, hop.name), unit.make("td", {}, hop.address),
    unit.make("td", {}, unit.make("span", { class: `tag ${hop.reachable ? "good" : "bad"}` }, hop.reachable ? "Terjangkau" : "Tidak terjangkau")), unit.make("td", { class: "number" }, hop.reachable ? `${hop.round_trip_ms.toFixed(1)} ms` : hop.problem))));
  unit.at("#links").disabled = false;
});

draw();
setInterval(draw, 2000);
