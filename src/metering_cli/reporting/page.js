const box = document.getElementById("filter");
const said = document.getElementById("said");
const folded = document.querySelector("details");
const customers = [...document.querySelectorAll("tbody.customer")];
box.parentElement.hidden = customers.length < 2;
box.addEventListener("input", () => {
  const wanted = box.value.trim().toLowerCase();
  let found = 0;
  for (const customer of customers) {
    customer.hidden = !customer.textContent.toLowerCase().includes(wanted);
    found += customer.hidden ? 0 : 1;
  }
  if (folded) folded.open = wanted !== "";
  said.textContent = wanted ? `${found} of ${customers.length} customers` : "";
});
