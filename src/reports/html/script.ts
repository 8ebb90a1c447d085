/**
 * The page's script. It only shows, hides, orders and copies what is there already; without it the page is complete.
 * It builds no markup from text, so nothing in a log can become code.
 */
export const SCRIPT = `
'use strict';
(() => {
  const root = document.documentElement;
  root.classList.add('js');
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // A browser takes as long as a person notices to lay out a thousand rows anew, so that no more than these are drawn unasked.
  const DRAWN_ROWS = 200;
  let drawFindings = () => {};

  const RANK = ['malicious', 'suspicious', 'unknown', 'unchecked', 'undetected'];
  const keyOf = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const [verdict, count] = text.split(/\\s/);
    const rank = RANK.indexOf(verdict);
    if (rank >= 0) return rank * 1e6 - (parseInt(count, 10) || 0);
    const number = /^[\\d,]+$/.test(text) ? Number(text.replaceAll(',', '')) : NaN;
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };

  for (const table of all('table[data-sortable]')) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.dataset.fixed !== undefined) return;
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const isAscending = head.getAttribute('aria-sort') !== 'ascending';
        for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', isAscending ? 'ascending' : 'descending');
        const keyed = [...body.rows].map((row) => [keyOf(row, column), row]);
        keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (isAscending ? 1 : -1));
        body.append(...keyed.map(([, row]) => row));
        drawFindings();
      });
    });
  }

  const search = document.getElementById('search');
  if (search !== null) {
    const body = document.querySelector('#findings tbody');
    const rows = [...body.rows];
    const boxes = all('.controls input[type=checkbox]');
    const shown = document.getElementById('shown');
    const detailsOf = (row) => document.getElementById(row.id.replace('r', 'f'));
    const texts = new Map();
    const textOf = (row) => {
      let text = texts.get(row);
      if (text === undefined) {
        const details = detailsOf(row);
        const link = row.querySelector('a[href^="https:"]');
        text = [row.textContent, link === null ? '' : link.href, details === null ? '' : details.textContent].join(' ').toLowerCase();
        texts.set(row, text);
      }
      return text;
    };
    const verdictOf = (row) => row.querySelector('.pill').textContent.split(' ')[0];

    let matching = new Set(rows);
    let maxDrawn = DRAWN_ROWS;
    const rest = document.createElement('button');
    rest.type = 'button';
    rest.id = 'rest';
    rest.className = 'copy';
    document.getElementById('findings').after(rest);
    drawFindings = () => {
      let drawn = 0;
      for (const row of body.rows) row.hidden = !matching.has(row) || ++drawn > maxDrawn;
      rest.hidden = matching.size <= maxDrawn;
      rest.textContent = 'Show all ' + matching.size + ' rows';
      shown.textContent = matching.size + ' of ' + rows.length + (rest.hidden ? ' shown' : ', the first ' + maxDrawn + ' shown');
    };
    const drawAll = () => {
      maxDrawn = rows.length;
      drawFindings();
    };
    rest.addEventListener('click', drawAll);
    addEventListener('beforeprint', drawAll);
    addEventListener('hashchange', () => {
      const row = document.getElementById(location.hash.slice(1));
      if (row !== null && row.hidden && matching.has(row)) drawAll();
    });

    const filter = () => {
      const words = search.value.toLowerCase().split(/\\s+/).filter((word) => word !== '');
      const verdicts = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      matching = new Set(
        rows.filter((row) => (verdicts.size === 0 || verdicts.has(verdictOf(row))) && words.every((word) => textOf(row).includes(word))),
      );
      for (const row of rows) {
        const details = detailsOf(row);
        if (details !== null) details.hidden = !matching.has(row);
      }
      drawFindings();
    };
    search.addEventListener('input', filter);
    for (const box of boxes) box.addEventListener('change', filter);
    document.addEventListener('keydown', (event) => {
      if (event.key === '/' && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName) && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        search.focus();
      } else if (event.key === 'Escape' && document.activeElement === search) {
        search.value = '';
        filter();
      }
    });
    filter();
  }

  const copyText = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement('textarea');
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand('copy');
      field.remove();
    }
  };
  const addCopy = (text, place) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.textContent = 'copy';
    button.addEventListener('click', async () => {
      await copyText(text);
      button.textContent = 'copied';
      setTimeout(() => { button.textContent = 'copy'; }, 1200);
    });
    place(button);
  };
  for (const hash of all('.hash')) addCopy(hash.textContent, (button) => hash.after(' ', button));
  for (const link of all('#findings a[href^="https:"]')) addCopy(link.href.split('/').pop(), (button) => link.before(button, ' '));

  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target === null) return;
    if (target.tagName === 'DETAILS') target.open = true;
    const focusable = target.querySelector('summary, a');
    if (focusable !== null) focusable.focus({ preventScroll: true });
  };
  addEventListener('hashchange', reveal);
  reveal();
  let closed = [];
  addEventListener('beforeprint', () => {
    closed = all('details:not([open])');
    for (const details of closed) details.open = true;
  });
  addEventListener('afterprint', () => {
    for (const details of closed) details.open = false;
  });
})();
`;
