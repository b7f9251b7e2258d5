// Sends forms as JSON to the API and shows what it answers. A form names its route in data-post; fields become keys.
"use strict";

function valueOf(field) {
  if (field.dataset.kind === "number") return Number(field.value);
  if (field.dataset.kind === "boolean") return field.value === "true";
  return field.value;
}

function bodyOf(form, submitter) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.type === "submit" || (field.type === "radio" && !field.checked)) continue;
    if ("withSame" in field.dataset && body.verdict !== "same") continue;
    if (field.dataset.kind === "list") (body[field.name] ||= []).push(...(field.checked ? [field.value] : []));
    else if (field.value !== "") body[field.name] = valueOf(field);
  }
  if (submitter && submitter.name) body[submitter.name] = valueOf(submitter);
  return body;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.post) return;
  event.preventDefault();
  const said = form.querySelector(".said");
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const answer = await fetch(form.dataset.post, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(bodyOf(form, event.submitter)),
    });
    if (answer.ok) {
      window.location.assign(form.dataset.then || window.location.href);
      return;
    }
    const problem = await answer.json();
    if (said) said.textContent = `${problem.message} ${problem.next_step}`;
  } catch {
    if (said) said.textContent = "Pusat tidak menjawab. The hub does not answer; try again.";
  }
  buttons.forEach((button) => { button.disabled = false; });
});
