import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { renderHtml } from '../../src/reports/html/page.js';
import type { Report } from '../../src/reports/report.js';
import { startBrowser } from './browser.js';
import {
  creation,
  event,
  guid,
  IMPLANT,
  intrusionReport,
  manyFindings,
  member,
  setOf,
  setWithContext,
  uncheckedMember,
} from './records.js';

let browser: Browser;
let folder: string;
const open: Page[] = [];
/** What no page may do: write to the console, fail, ask for anything. */
const complaints: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sysmon-vt-report-'));
  browser = await startBrowser();
});

afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((page) => page.close()));
  expect(complaints.splice(0)).toEqual([]);
});

async function show(
  report: Report,
  options: { readonly colorScheme?: 'light' | 'dark'; readonly width?: number } = {},
): Promise<Page> {
  const path = join(folder, 'report.html');
  await writeFile(path, renderHtml(report));
  const page = await browser.newPage({
    colorScheme: options.colorScheme ?? 'light',
    viewport: { width: options.width ?? 1400, height: 900 },
  });
  open.push(page);
  page.on('console', (message) => complaints.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    if (request.url() !== pathToFileURL(path).href) complaints.push(`request: ${request.url()}`);
  });
  await page.goto(pathToFileURL(path).href);
  return page;
}

/** Texts of a column of the findings that are shown. */
async function column(page: Page, number: number): Promise<string[]> {
  const cells = page.locator(`#findings tbody tr:not([hidden]) td:nth-child(${number})`);
  return (await cells.allInnerTexts()).map((text) => text.split('\n')[0]?.trim() ?? '');
}

function someFindings(): Report {
  const run = (image: string, detections: number, host: string, times: number) =>
    Array.from({ length: times }, () => [creation(image, { host }), member(image, detections)] as const);
  return setOf([
    ...run('C:\\alpha.exe', 9, 'WS-01', 2),
    ...run('C:\\gamma.exe', 60, 'WS-02', 11),
    ...run('C:\\beta.exe', 2, 'WS-03', 1),
  ]).summarise();
}

describe('the page', () => {
  test('leads with the headline, what it rests on and what it cannot say', async () => {
    const page = await show(intrusionReport());
    expect(await page.locator('h1').innerText()).toBe('1 malicious image on 1 of 3 hosts, first 2026-03-04 02:14 UTC');
    expect(await page.title()).toContain('1 malicious image on 1 of 3 hosts');
    expect(await page.locator('header').innerText()).toContain('7 process creations of 6 distinct files on 3 hosts');
    await page.getByRole('link', { name: '2 gaps' }).click();
    expect(await page.locator('section:has(#coverage)').innerText()).toContain('the quota was spent');
  });

  test('says first what is bad, where and as whom it ran, what started it and whom it talked to', async () => {
    const page = await show(intrusionReport());
    const first = page.locator('section.first li').first();
    expect(await first.innerText()).toMatch(/^malicious 54\/75 invoice\.exe in C:\\Users\\ann\\AppData\\Roaming\n/);
    expect(await first.locator('li').allInnerTexts()).toEqual([
      'on WS-01',
      'as CORP\\ann',
      'started by winword.exe',
      'connected to 203.0.113.9:443',
      'first 2026-03-04 02:14:09 UTC',
    ]);
    expect((await first.boundingBox())?.y).toBeLessThan(500);
    await first.getByRole('link', { name: 'invoice.exe' }).click();
    expect(page.url()).toMatch(/#f1$/);
  });

  test('tells the story: ancestors, children, network, files, hiding, end', async () => {
    const page = await show(intrusionReport());
    const tree = page.locator('.tree');
    const names = await tree.locator('b').allInnerTexts();
    expect(names).toEqual(['explorer.exe', 'winword.exe', 'invoice.exe', 'cmd.exe']);
    // Each stands inside the one that started it.
    expect(await tree.locator('li li li.self li b').innerText()).toBe('cmd.exe');
    expect(await page.locator('.steps li').allInnerTexts()).toEqual([
      expect.stringMatching(/02:14:19\s+looked up c2\.example/),
      expect.stringMatching(/02:14:20\s+connected to 203\.0\.113\.9:443 c2\.example, tcp/),
      expect.stringMatching(/02:14:25\s+created C:\\ProgramData\\stage2\.dll/),
      expect.stringMatching(/02:14:26\s+changed the creation time of C:\\ProgramData\\stage2\.dll/),
      expect.stringMatching(/02:14:28\s+opened the process C:\\Windows\\System32\\lsass\.exe access 0x1010/),
      expect.stringMatching(/02:14:30\s+started C:\\Windows\\System32\\cmd\.exe cmd \/c whoami/),
      expect.stringMatching(/02:14:59\s+ended/),
    ]);
    const finding = await page.locator('#f1').innerText();
    expect(finding).toContain('54 of 75 engines on VirusTotal, analysed 2026-03-04');
    expect(finding).toContain(IMPLANT);
  });

  test('sorts by any column, numbers as numbers', async () => {
    const page = await show(someFindings());
    expect(await column(page, 2)).toEqual(['gamma.exe', 'alpha.exe', 'beta.exe']);
    await page.getByRole('button', { name: 'Runs' }).first().click();
    expect(await column(page, 4)).toEqual(['1', '2', '11']);
    expect(await page.locator('#findings th[aria-sort=ascending]').innerText()).toContain('Runs');
    await page.getByRole('button', { name: 'Runs' }).first().click();
    expect(await column(page, 4)).toEqual(['11', '2', '1']);
    await page.getByRole('button', { name: 'Image' }).first().click();
    expect(await column(page, 2)).toEqual(['alpha.exe', 'beta.exe', 'gamma.exe']);
    await page.getByRole('button', { name: 'Verdict' }).click();
    expect(await column(page, 2)).toEqual(['gamma.exe', 'alpha.exe', 'beta.exe']);
  });

  test('filters by verdict and searches what the findings say, their hosts too', async () => {
    const page = await show(someFindings());
    await page.getByLabel('only suspicious').check();
    expect(await column(page, 2)).toEqual(['beta.exe']);
    expect(await page.locator('#shown').innerText()).toBe('1 of 3 shown');
    expect(await page.locator('#f1').isVisible()).toBe(false);
    await page.getByLabel('only suspicious').uncheck();
    await page.getByLabel('Search').fill('ws-02');
    expect(await column(page, 2)).toEqual(['gamma.exe']);
    await page.getByLabel('Search').press('Escape');
    expect(await column(page, 2)).toHaveLength(3);
  });

  test('leads from the table to the finding and back, by keyboard alone', async () => {
    const page = await show(someFindings());
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the findings');
    await page.keyboard.press('/');
    expect(await page.evaluate('document.activeElement.id')).toBe('search');
    await page.keyboard.type('beta');
    expect(await column(page, 2)).toEqual(['beta.exe']);
    await page.locator('#findings tbody tr:not([hidden]) a').first().focus();
    await page.keyboard.press('Enter');
    await expect.poll(() => page.evaluate('document.activeElement.tagName')).toBe('SUMMARY');
    expect(await page.evaluate('document.activeElement.parentElement.id')).toBe('f3');
    await page.keyboard.press('Enter');
    expect(await page.locator('#f3').getAttribute('open')).toBeNull();
    await page.keyboard.press('Enter');
    await page.locator('#f3').getByRole('link', { name: 'row in the table' }).press('Enter');
    await expect.poll(() => page.evaluate('document.activeElement.closest("tr")?.id')).toBe('r3');
  });

  test('leads from a process in a tree to the finding it is one of', async () => {
    const dropper = creation('C:\\dropper.exe', { process: 'dropper' });
    const payload = creation('C:\\payload.exe', { process: 'payload', fields: { ParentProcessGuid: guid('dropper') } });
    const records = [
      [dropper, member('C:\\dropper.exe', 60)],
      [payload, member('C:\\payload.exe', 30)],
    ] as const;
    const page = await show(setWithContext(records, records).summarise());
    await page.locator('#f1 .tree').getByRole('link', { name: 'finding 2' }).click();
    expect(page.url()).toMatch(/#f2$/);
    expect(await page.locator('#f2 .tree').getByRole('link', { name: 'finding 1' }).count()).toBe(1);
  });

  test('copies a hash', async () => {
    const page = await show(intrusionReport());
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    const { sha256 } = intrusionReport().findings[0]?.file.hashes ?? {};
    await page.locator('#r1').getByRole('button', { name: 'copy' }).click();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(sha256);
    expect(await page.getByRole('button', { name: 'copied' }).count()).toBe(1);
  });

  test('links to VirusTotal and to itself only', async () => {
    const page = await show(intrusionReport());
    const links = await page.locator('a').evaluateAll((all) => all.map((link) => link.getAttribute('href') ?? ''));
    expect(
      links.filter((link) => !/^(#[a-z]+\d*|https:\/\/www\.virustotal\.com\/gui\/file\/[0-9a-f]{64})$/.test(link)),
    ).toEqual([]);
  });

  test('is dark where the reader wants it dark', async () => {
    const background = (page: Page): Promise<unknown> =>
      page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(await background(await show(intrusionReport(), { colorScheme: 'dark' }))).toBe('rgb(21, 23, 27)');
    expect(await background(await show(intrusionReport()))).toBe('rgb(250, 249, 247)');
  });

  test('never needs to be scrolled sideways', async () => {
    for (const report of [intrusionReport(), manyFindings(30).summarise(), hostileReport()]) {
      for (const width of [400, 800]) {
        const page = await show(report, { width });
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
      }
    }
  });

  test.each([
    ['with a story', 'light', intrusionReport],
    ['with a story', 'dark', intrusionReport],
    ['with a comparison', 'light', comparedSets],
    ['without findings', 'dark', nothingFound],
  ] as const)('breaks none of axe-core’s rules %s, where it is to be %s', async (_, colorScheme, report) => {
    const page = await show(report(), { colorScheme });
    // What the driver evaluates is not bound by the page's policy, so the rules can be brought in.
    await page.evaluate(axe.source);
    const violations = await page.evaluate(
      'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)].join(" ")))',
    );
    expect(violations).toEqual([]);
  });
});

function comparedSets(): Report {
  const before = setOf([
    [creation('C:\\alpha.exe'), member('C:\\alpha.exe', 0)],
    [creation('C:\\gone.exe'), member('C:\\gone.exe', 8)],
  ]);
  return setOf([
    [creation('C:\\alpha.exe'), member('C:\\alpha.exe', 60)],
    [creation('C:\\odd.exe'), member('C:\\odd.exe', undefined)],
  ]).summarise(before);
}

function nothingFound(): Report {
  return setOf([
    [creation('a.exe'), member('a.exe', 0)],
    [creation('b.exe'), uncheckedMember('b.exe', 'quota')],
  ]).summarise();
}

const XSS = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</style></script></title></textarea><svg onload=alert(1)>',
  'javascript:alert(1)',
  '$\u007balert(1)}{{alert(1)}}<!--',
  '\u202e\u2066fdp.exe\u0000\u0007\u001b]8;;http://evil.example\u0007',
  '&lt;script&gt;&#x3c;b&#62;',
  'https://evil.example/?<a href="http://evil.example">x</a>',
  '\ud800<iframe srcdoc="<script>alert(1)</script>">',
];

/** Every field of every kind of record holds an attack. */
function hostileReport(): Report {
  const fields = (attack: string): Record<string, string> =>
    Object.fromEntries(
      [
        'Image CommandLine User ParentImage ParentCommandLine ParentUser ProcessId ParentProcessId OriginalFileName Company Product',
        'Description FileVersion TargetFilename QueryName QueryResults DestinationIp DestinationHostname DestinationPort Protocol',
        'TargetImage SourceImage GrantedAccess StartModule Type Hash Contents PreviousCreationUtcTime',
      ]
        .join(' ')
        .split(' ')
        .map((name) => [name, attack]),
    );
  const records = XSS.map((attack, index) => {
    const record = creation(`file${index}`, { host: `WS-${attack}`, process: 'p', fields: fields(attack) });
    return [
      record,
      member(`file${index}`, 50, { label: attack, flags: [attack], known_good: { source: attack } }),
    ] as const;
  });
  const leads = XSS.map((attack, index) => {
    const record = creation(`lead${index}`, { host: `WS-${attack}`, fields: fields(attack) });
    return [record, member(`lead${index}`, undefined)] as const;
  });
  const context = XSS.flatMap((attack, index) => [
    ...[2, 3, 11, 15, 22, 23, 25].map((id) => [event(id, 'p', fields(attack), `WS-${attack}`), undefined] as const),
    [
      creation(`child${index}`, {
        host: `WS-${attack}`,
        fields: { ...fields(attack), ProcessGuid: guid(`child${index}`), ParentProcessGuid: guid('p') },
      }),
      member(`child${index}`, 0, { label: attack }),
    ] as const,
  ]);
  const set = setWithContext([...records, ...leads], context);
  for (const attack of XSS) {
    set.addFailure(attack, attack);
    set.addUnreadable(attack);
  }
  return set.summarise(
    setOf(records.map(([record, virustotal]) => [record, { ...virustotal, verdict: 'suspicious' }])),
  );
}

describe('text of an attacker', () => {
  test('does nothing, in any field', async () => {
    const page = await show(hostileReport());
    for (const details of await page.locator('details').all()) {
      await details.evaluate((element) => element.setAttribute('open', ''));
    }
    await page.getByRole('button', { name: 'Image' }).first().click();
    await page.getByLabel('Search').fill('<script>');
    await page.mouse.move(300, 300);
    await page.mouse.wheel(0, 2000);
    const strangers = await page
      .locator('script, style, img, iframe, svg [onload], [onerror], [onmouseover], base, form')
      .evaluateAll((elements) => elements.map((element) => element.outerHTML.slice(0, 40)));
    expect(strangers.filter((element) => !/^<(style|script)>/.test(element))).toEqual([]);
    expect(strangers).toHaveLength(2);
  });

  test('is shown as it was written, with what is invisible made visible', async () => {
    const page = await show(hostileReport());
    const shown = await page.locator('body').evaluate((body) => body.textContent ?? '');
    expect(shown).toContain('<script>alert(1)</script>');
    expect(shown).toContain('\\u{202e}\\u{2066}fdp.exe\\u{0}');
    expect(shown).toContain('&lt;script&gt;');
    for (const invisible of ['\u202e', '\u2066', '\u0007', '\u001b']) expect(shown).not.toContain(invisible);
  });

  test('meets a policy that allows nothing but the page’s own script and style', async () => {
    const page = await show(intrusionReport());
    const policy = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute('content');
    expect(policy).toMatch(
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'$/,
    );
    const ran = await page.evaluate(`(() => {
      const script = document.createElement('script');
      script.textContent = 'globalThis.ran = true';
      document.body.append(script);
      return 'ran' in globalThis;
    })()`);
    expect(ran).toBe(false);
    // The refusal of that script is what the browser complains of.
    expect(complaints.splice(0)).toEqual([expect.stringContaining('Content Security Policy')]);
  });
});

describe('a thousand findings', () => {
  test('make a page under a megabyte that opens, and sorts and filters with a few changes for each row', async () => {
    const report = manyFindings(1000).summarise();
    expect(Buffer.byteLength(renderHtml(report))).toBeLessThan(1_000_000);
    const page = await show(report);
    expect(await page.locator('#findings tbody tr').count()).toBe(1000);
    const [sorting, filtering] = await page.evaluate<[number, number]>(`(async () => {
      const changesOf = async (act) => {
        let changes = 0;
        const observer = new MutationObserver((records) => { changes += records.length; });
        observer.observe(document.body, { attributes: true, childList: true, characterData: true, subtree: true });
        act();
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
        observer.disconnect();
        return changes;
      };
      const search = document.querySelector('#search');
      return [
        await changesOf(() => document.querySelector('#findings th:nth-child(3) button').click()),
        await changesOf(() => {
          search.value = 'setup-77';
          search.dispatchEvent(new Event('input'));
        }),
      ];
    })()`);
    // A few changes of the page for each row, and nothing quadratic; a change for each pair of rows would be half a million.
    expect(sorting).toBeGreaterThan(0);
    expect(sorting).toBeLessThan(5_000);
    expect(filtering).toBeGreaterThan(0);
    expect(filtering).toBeLessThan(5_000);
    expect(await page.locator('#findings tbody tr:not([hidden])').count()).toBe(11);
  });

  test('are drawn two hundred at a time, all where that is asked for: a browser lays those out without a pause', async () => {
    const page = await show(manyFindings(1000).summarise());
    expect(await page.evaluate('document.querySelectorAll("*").length')).toBeLessThan(30_000);
    const drawn = page.locator('#findings tbody tr:not([hidden])');
    expect(await page.locator('#findings tbody tr').count()).toBe(1000);
    expect(await drawn.count()).toBe(200);
    expect(await page.locator('#shown').innerText()).toBe('1000 of 1000, the first 200 shown');

    await page.getByRole('button', { name: 'Image' }).first().click();
    expect(await drawn.count()).toBe(200);
    expect((await column(page, 2)).slice(0, 3)).toEqual(['setup-0.exe', 'setup-1.exe', 'setup-10.exe']);
    await page.getByLabel('Search').fill('setup-77');
    expect(await drawn.count()).toBe(11);
    expect(await page.locator('#shown').innerText()).toBe('11 of 1000 shown');
    await page.getByLabel('Search').press('Escape');
    await page.getByRole('button', { name: 'Show all 1000 rows' }).click();
    expect(await drawn.count()).toBe(1000);
  });

  test('lead from a finding to its row though it was not drawn', async () => {
    const page = await show(manyFindings(400).summarise());
    expect(await page.locator('#r300').isVisible()).toBe(false);
    await page.evaluate('location.hash = "#r300"');
    await expect.poll(() => page.evaluate('document.activeElement.closest("tr")?.id')).toBe('r300');
    expect(await page.locator('#r300').isVisible()).toBe(true);
  });

  test('are all on paper', async () => {
    const page = await show(manyFindings(400).summarise());
    await page.evaluate('dispatchEvent(new Event("beforeprint"))');
    expect(await page.locator('#findings tbody tr:not([hidden])').count()).toBe(400);
  });

  test('stay under a megabyte where every text was made to fill the page', () => {
    const long = '\u202e<&"'.repeat(8000);
    const records = Array.from({ length: 1000 }, (_, index) => {
      const record = creation(`${index}`, {
        host: `${long}${index}`,
        fields: { Image: long, CommandLine: `${index}${long}`, User: long },
      });
      return [record, member(`${index}`, 50, { label: long })] as const;
    });
    const page = renderHtml(setOf(records).summarise());
    expect(Buffer.byteLength(page)).toBeLessThan(1_000_000);
    expect(page).toContain('more are in the JSON report');
  });
});
